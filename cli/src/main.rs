//! pgkeep.
fn main() {}
