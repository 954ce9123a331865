//! End to end tests: the program `pgkeep` as a person runs it, on real servers of every
//! supported major version.
//!
//! One binary; a module for each behaviour. What they stand on is in `tests/src`. This is a
//! test target of the command line's package, so that cargo builds the program first.

mod oracle;
