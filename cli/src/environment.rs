//! The environment variables that pgkeep itself reads, each once, here. What the `PG*`
//! variables and `DATABASE_URL` mean is the engine's (`postgres::Settings`).

use crate::args::{ObjectArgs, days, lock_mode, rate, sse};
use pgkeep_engine::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::num::NonZeroU64;
use std::path::PathBuf;

const LIMIT_UPLOAD: &str = "PGKEEP_LIMIT_UPLOAD";
const LIMIT_DOWNLOAD: &str = "PGKEEP_LIMIT_DOWNLOAD";
const STORAGE_CLASS: &str = "PGKEEP_STORAGE_CLASS";
const SSE: &str = "PGKEEP_SSE";
const SSE_KMS_KEY_ID: &str = "PGKEEP_SSE_KMS_KEY_ID";
const OBJECT_LOCK_MODE: &str = "PGKEEP_OBJECT_LOCK_MODE";
const OBJECT_LOCK_DAYS: &str = "PGKEEP_OBJECT_LOCK_DAYS";
/// All of these.
const SETTINGS: [&str; 7] = [
    LIMIT_UPLOAD,
    LIMIT_DOWNLOAD,
    STORAGE_CLASS,
    SSE,
    SSE_KMS_KEY_ID,
    OBJECT_LOCK_MODE,
    OBJECT_LOCK_DAYS,
];

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
    /// Variables that stand for an option which says how to read and write, as they are written.
    settings: BTreeMap<&'static str, OsString>,
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
            settings: SETTINGS.iter().filter_map(|name| Some((*name, get(name)?))).collect(),
            key_directory: config.map(|config| config.join("pgkeep")),
            names_server: NAMES_SERVER.iter().any(|name| get(name).is_some()),
            no_color: get("NO_COLOR").is_some() || get("TERM").is_some_and(|term| term == "dumb"),
        }
    }

    /// How fast may be written, where `--limit-upload` does not say.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when the variable makes no sense.
    pub(crate) fn limit_upload(&self) -> Result<Option<NonZeroU64>> {
        self.setting(LIMIT_UPLOAD, rate)
    }

    /// As [`Environment::limit_upload`], for reading.
    pub(crate) fn limit_download(&self) -> Result<Option<NonZeroU64>> {
        self.setting(LIMIT_DOWNLOAD, rate)
    }

    /// What is asked for objects that are written, where options do not say. An option that belongs
    /// to another is taken from where that one is.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when a variable makes no sense.
    pub(crate) fn objects(&self, options: &ObjectArgs) -> Result<ObjectArgs> {
        let text = |text: &str| Ok(text.to_owned());
        let mut asked = options.clone();
        if asked.storage_class.is_none() {
            asked.storage_class = self.setting(STORAGE_CLASS, text)?;
        }
        if asked.sse.is_none() && asked.sse_kms_key_id.is_none() {
            asked.sse = self.setting(SSE, sse)?;
            asked.sse_kms_key_id = self.setting(SSE_KMS_KEY_ID, text)?;
        }
        if asked.object_lock_mode.is_none() && asked.object_lock_days.is_none() {
            asked.object_lock_mode = self.setting(OBJECT_LOCK_MODE, lock_mode)?;
            asked.object_lock_days = self.setting(OBJECT_LOCK_DAYS, days)?;
        }
        Ok(asked)
    }

    /// Reads what a variable says as its option is read.
    fn setting<T>(
        &self,
        name: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>> {
        let Some(value) = self.settings.get(name) else { return Ok(None) };
        let read = value.to_str().map_or_else(|| Err("is no text".to_owned()), read);
        read.map(Some).map_err(|error| {
            let message = format!("invalid value \"{}\" of {name}", value.display());
            Error::new(ErrorKind::Usage, message).hint(format!("{name}: {error}"))
        })
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
    fn a_limit_of_the_environment_is_read_as_its_option_is() {
        let limits = environment(&[("PGKEEP_LIMIT_UPLOAD", "2M"), ("PGKEEP_LIMIT_DOWNLOAD", "x")]);
        assert_eq!(limits.limit_upload().unwrap().map(NonZeroU64::get), Some(2 << 20));
        assert_eq!(limits.limit_download().unwrap_err().kind(), ErrorKind::Usage);
        assert_eq!(environment(&[]).limit_upload().unwrap(), None);
    }

    #[test]
    fn a_lock_is_taken_as_a_whole_from_options_or_variables() {
        let variables = environment(&[
            ("PGKEEP_STORAGE_CLASS", "STANDARD_IA"),
            ("PGKEEP_OBJECT_LOCK_MODE", "GOVERNANCE"),
            ("PGKEEP_OBJECT_LOCK_DAYS", "30"),
        ]);
        let asked = variables.objects(&ObjectArgs::default()).unwrap();
        assert_eq!(asked.storage_class.as_deref(), Some("STANDARD_IA"));
        assert!(asked.options().unwrap().lock.is_some());
        let days = Some(std::num::NonZeroU32::MIN);
        let half = ObjectArgs { object_lock_days: days, ..ObjectArgs::default() };
        assert!(variables.objects(&half).unwrap().options().is_err());
        let wrong = environment(&[("PGKEEP_OBJECT_LOCK_DAYS", "0")]);
        let error = wrong.objects(&ObjectArgs::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
    }

    #[test]
    fn a_dumb_terminal_gets_no_colour() {
        assert!(environment(&[("TERM", "dumb")]).no_color);
        assert!(environment(&[("NO_COLOR", "1")]).no_color);
        assert!(!environment(&[("TERM", "xterm")]).no_color);
    }
}
