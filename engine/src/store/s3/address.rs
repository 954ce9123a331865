//! `s3://bucket/prefix`.

use crate::{Error, ErrorKind, Result};

/// What an address of a bucket begins with.
const SCHEME: &str = "s3://";

/// A bucket, and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Address {
    pub(super) bucket: String,
    /// Empty, or ends with a slash.
    pub(super) prefix: String,
}

impl S3Address {
    /// Reads an address; absent where it is none but a path.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when it begins as one and names no bucket, or has a part that is
    /// empty, `.` or `..`.
    pub fn parse(text: &str) -> Result<Option<Self>> {
        let Some(rest) = text.strip_prefix(SCHEME) else { return Ok(None) };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        let is_part = |part: &str| !matches!(part, "" | "." | "..");
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        let is_prefix = prefix.is_empty() || prefix.split('/').all(is_part);
        if bucket.is_empty() || !bucket.chars().all(plain) || !is_prefix {
            let message = format!("\"{text}\" names no bucket");
            return Err(Error::new(ErrorKind::Usage, message)
                .hint("Write it so: s3://BUCKET or s3://BUCKET/PREFIX"));
        }
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Some(Self { bucket: bucket.to_owned(), prefix }))
    }
}

impl std::fmt::Display for S3Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let prefix = self.prefix.strip_suffix('/').unwrap_or(&self.prefix);
        let slash = if prefix.is_empty() { "" } else { "/" };
        write!(f, "{SCHEME}{}{slash}{prefix}", self.bucket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_bucket_and_where_in_it() {
        let parse = |text| S3Address::parse(text).unwrap();
        for (text, bucket, prefix, shown) in [
            ("s3://shop", "shop", "", "s3://shop"),
            ("s3://shop/", "shop", "", "s3://shop"),
            ("s3://shop/a/b/", "shop", "a/b/", "s3://shop/a/b"),
        ] {
            let address = parse(text).unwrap();
            assert_eq!((address.bucket.as_str(), address.prefix.as_str()), (bucket, prefix));
            assert_eq!(address.to_string(), shown);
        }
        assert_eq!(parse("/var/backups"), None);
        for text in ["s3://", "s3:///x", "s3://b//x", "s3://b/../x", "s3://b?x"] {
            assert_eq!(S3Address::parse(text).unwrap_err().kind(), ErrorKind::Usage, "{text}");
        }
    }
}
