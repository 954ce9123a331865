//! The environment variables that pgkeep itself reads, each once, here. What the `PG*`
//! variables and `DATABASE_URL` mean is the engine's (`postgres::Settings`).

use std::ffi::OsString;
use std::path::PathBuf;

/// The variables that name a server or database.
const NAMES_SERVER: [&str; 6] =
    ["DATABASE_URL", "PGDATABASE", "PGHOST", "PGHOSTADDR", "PGPORT", "PGSERVICE"];

/// What the environment says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    /// `PGKEEP_REPO`: the repository, where `--repo` does not say; else the bucket that
    /// `BACKUP_BUCKET` names.
    pub(crate) repo: Option<PathBuf>,
    /// `AWS_CA_BUNDLE`: certificates to trust for a bucket, where `--ca-file` does not say.
    pub(crate) ca_file: Option<PathBuf>,
    /// `PGKEEP_IDENTITY`: the identity file, where `--identity` does not say.
    pub(crate) identity: Option<PathBuf>,
    /// `PGKEEP_WRITER`: the writer credential's file, where `--writer` does not say.
    pub(crate) writer: Option<PathBuf>,
    /// `$XDG_CONFIG_HOME/pgkeep`, else `$HOME/.config/pgkeep`: where key files lie.
    pub(crate) key_directory: Option<PathBuf>,
    /// Whether `DATABASE_URL` or a `PG*` variable says which server or database is meant.
    pub(crate) names_server: bool,
    /// Whether colour is unwanted: `NO_COLOR` is set, or the terminal is dumb.
    pub(crate) no_color: bool,
}

impl Environment {
    /// Reads the environment of this process.
    pub(crate) fn read() -> Self {
        Self::from_lookup(|name| std::env::var_os(name))
    }

    /// Reads an environment; a variable that is empty counts as not set.
    fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let get = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let path = |name: &str| get(name).map(PathBuf::from);
        // The XDG specification says to ignore a path that is not absolute.
        let config = path("XDG_CONFIG_HOME")
            .filter(|path| path.is_absolute())
            .or_else(|| path("HOME").map(|home| home.join(".config")));
        Self {
            repo: path("PGKEEP_REPO").or_else(|| {
                let bucket = get("BACKUP_BUCKET")?;
                let mut address = OsString::from("s3://");
                address.push(bucket);
                Some(address.into())
            }),
            ca_file: path("AWS_CA_BUNDLE"),
            identity: path("PGKEEP_IDENTITY"),
            writer: path("PGKEEP_WRITER"),
            key_directory: config.map(|config| config.join("pgkeep")),
            names_server: NAMES_SERVER.iter().any(|name| get(name).is_some()),
            no_color: get("NO_COLOR").is_some() || get("TERM").is_some_and(|term| term == "dumb"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        let map: HashMap<_, _> = pairs.iter().copied().collect();
        Environment::from_lookup(|name| map.get(name).map(OsString::from))
    }

    #[test]
    fn an_empty_variable_is_as_good_as_none() {
        let read = environment(&[("PGKEEP_REPO", ""), ("NO_COLOR", "")]);
        assert_eq!(read.repo, None);
        assert!(!read.no_color);
    }

    #[test]
    fn key_files_lie_in_the_configuration_directory() {
        let home = environment(&[("HOME", "/home/ann")]);
        assert_eq!(home.key_directory, Some("/home/ann/.config/pgkeep".into()));
        let relative = environment(&[("HOME", "/home/ann"), ("XDG_CONFIG_HOME", "conf")]);
        assert_eq!(relative.key_directory, home.key_directory);
        let own = environment(&[("HOME", "/home/ann"), ("XDG_CONFIG_HOME", "/etc/ann")]);
        assert_eq!(own.key_directory, Some("/etc/ann/pgkeep".into()));
        assert_eq!(environment(&[]).key_directory, None);
    }

    #[test]
    fn a_server_is_named_by_any_of_its_variables() {
        assert!(environment(&[("DATABASE_URL", "postgres://db/shop")]).names_server);
        assert!(environment(&[("PGSERVICE", "shop")]).names_server);
        assert!(!environment(&[("PGUSER", "app"), ("PGHOST", "")]).names_server);
    }

    #[test]
    fn a_dumb_terminal_gets_no_colour() {
        assert!(environment(&[("TERM", "dumb")]).no_color);
        assert!(environment(&[("NO_COLOR", "1")]).no_color);
        assert!(!environment(&[("TERM", "xterm")]).no_color);
    }
}
