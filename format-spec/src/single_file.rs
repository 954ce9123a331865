//! single_file
