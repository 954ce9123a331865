//! Which value counts. In this order: options of their own, the connection string, the
//! service file, the environment, defaults. This is libpq's order, but for two things: the
//! options outrank the string, and `DATABASE_URL` stands for the string when nothing else
//! names a server or database.

use super::keywords::{self, Values, usage};
use super::{
    Address, ChannelBinding, ClientCertificate, Host, Passfile, Password, RootCertificates,
    Settings, SslMode, Surroundings, TargetSession, TlsSettings, service, uri,
};
use crate::Result;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Time for one address to answer when nothing says otherwise. libpq would wait as long as
/// the system does; a backup that nobody watches must not hang on a host that is silent.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// What the user asked for in so many words.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// `-d`: a URI, a `keyword=value` string or the name of a database.
    pub database: Option<String>,
    /// `-h`: host names or socket directories, separated by commas.
    pub host: Option<String>,
    /// `-p`: ports, separated by commas.
    pub port: Option<String>,
    /// `-U`: the role.
    pub user: Option<String>,
}

/// Settings, and what the user should hear about how they came about.
#[derive(Debug)]
pub(super) struct Resolved {
    /// The settings.
    pub(super) settings: Settings,
    /// Whole sentences.
    pub(super) warnings: Vec<String>,
}

/// Settles the settings.
///
/// # Errors
/// [`crate::ErrorKind::Usage`] when a value makes no sense, names a service that is not
/// there, or asks for something that pgkeep cannot give.
pub(super) fn resolve(asked: &Asked, surroundings: &dyn Surroundings) -> Result<Resolved> {
    let values = gather(asked, surroundings)?;
    keywords::refuse_unsupported(&values)?;
    let mut warnings = Vec::new();
    let user = match set(&values, "user") {
        Some(user) => user.to_owned(),
        None => surroundings.user_name().ok_or_else(|| {
            usage("no user name was given and the operating system's is not known")
                .hint("Name the role with -U.")
        })?,
    };
    let settings = Settings {
        hosts: hosts(&values)?,
        database: set(&values, "dbname").unwrap_or(&user).to_owned(),
        password: set(&values, "password").map(Password::new),
        passfile: Arc::new(passfile(&values, surroundings, &mut warnings)),
        tls: tls(&values, surroundings)?,
        channel_binding: channel_binding(&values)?,
        role: None,
        application_name: set(&values, "application_name")
            .or_else(|| set(&values, "fallback_application_name"))
            .map(str::to_owned),
        options: set(&values, "options").map(str::to_owned),
        connect_timeout: connect_timeout(&values)?,
        target: target(&values)?,
        user,
    };
    Ok(Resolved { settings, warnings })
}

/// All values, each from the first source that has it.
fn gather(asked: &Asked, surroundings: &dyn Surroundings) -> Result<Values> {
    let mut values = Values::new();
    let options = [("host", &asked.host), ("port", &asked.port), ("user", &asked.user)];
    for (keyword, value) in options {
        if let Some(value) = value {
            values.insert(keyword, value.clone());
        }
    }
    // A host of its own makes the string's address meaningless.
    let string = match &asked.database {
        Some(text) => connection_string(text)?,
        None => Values::new(),
    };
    let own_host = values.contains_key("host");
    fill(&mut values, string.into_iter().filter(|(key, _)| !(own_host && *key == "hostaddr")));
    if !names_a_server(&values, surroundings)
        && let Some(url) = surroundings.variable("DATABASE_URL").filter(|url| !url.is_empty())
    {
        let string = connection_string(&url)
            .map_err(|error| usage("DATABASE_URL cannot be used").because(error))?;
        fill(&mut values, string);
    }
    from_service(&mut values, surroundings)?;
    // The environment's address belongs to the environment's host.
    let own_host = values.contains_key("host");
    fill(
        &mut values,
        keywords::with_variables()
            .filter(|(keyword, _)| !(own_host && *keyword == "hostaddr"))
            .filter_map(|(keyword, variable)| Some((keyword, surroundings.variable(variable)?))),
    );
    Ok(values)
}

/// Whether anything but `DATABASE_URL` says which server or database is meant.
fn names_a_server(values: &Values, surroundings: &dyn Surroundings) -> bool {
    keywords::with_variables()
        .filter(|(keyword, _)| matches!(*keyword, "host" | "hostaddr" | "dbname" | "service"))
        .any(|(keyword, variable)| {
            set(values, keyword).is_some()
                || surroundings.variable(variable).is_some_and(|value| !value.is_empty())
        })
}

fn connection_string(text: &str) -> Result<Values> {
    match uri::after_scheme(text) {
        Some(rest) => uri::parse(rest),
        None if text.contains('=') => keywords::parse(text),
        None if text.contains("://") => {
            Err(usage("connection URI does not begin with \"postgresql://\" or \"postgres://\""))
        }
        None => Ok(Values::from([("dbname", text.to_owned())])),
    }
}

/// Adds what is not there yet; an empty value counts as not there.
fn fill(values: &mut Values, more: impl IntoIterator<Item = (&'static str, String)>) {
    for (keyword, value) in more {
        if set(values, keyword).is_none() {
            values.insert(keyword, value);
        }
    }
}

fn set<'a>(values: &'a Values, keyword: &str) -> Option<&'a str> {
    values.get(keyword).map(String::as_str).filter(|value| !value.is_empty())
}

fn home(surroundings: &dyn Surroundings, file: &str) -> Option<PathBuf> {
    surroundings.variable("HOME").filter(|home| !home.is_empty()).map(|home| {
        let mut path = PathBuf::from(home);
        path.push(file);
        path
    })
}

/// Adds the values of the service that is named, from the user's file or the system's.
fn from_service(values: &mut Values, surroundings: &dyn Surroundings) -> Result<()> {
    let Some(service) =
        set(values, "service").map(str::to_owned).or_else(|| surroundings.variable("PGSERVICE"))
    else {
        return Ok(());
    };
    let named = set(values, "servicefile").map(str::to_owned);
    let user_file = named
        .or_else(|| surroundings.variable("PGSERVICEFILE"))
        .map(PathBuf::from)
        .or_else(|| home(surroundings, ".pg_service.conf"));
    let system = surroundings.variable("PGSYSCONFDIR").unwrap_or_else(|| "/etc/postgresql".into());
    let system_file = Path::new(&system).join("pg_service.conf");
    for file in user_file.into_iter().chain([system_file]) {
        let contents = match surroundings.read(&file) {
            Ok(contents) => contents,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                let message = format!("could not read service file \"{}\"", file.display());
                return Err(usage(message).because(error));
            }
        };
        if let Some(found) = service::find(&contents.text, &service)? {
            fill(values, found);
            return Ok(());
        }
    }
    Err(usage(format!("service \"{service}\" is in no service file"))
        .hint("Services are sections of ~/.pg_service.conf, or of the file in PGSERVICEFILE."))
}

/// The hosts: names, addresses and ports are lists that go together.
fn hosts(values: &Values) -> Result<Vec<Host>> {
    let list = |keyword| set(values, keyword).map(|text| text.split(',').collect::<Vec<_>>());
    let names = list("host");
    let addresses = list("hostaddr");
    let count = names.as_ref().or(addresses.as_ref()).map_or(1, Vec::len);
    if addresses.as_ref().is_some_and(|addresses| addresses.len() != count) {
        return Err(usage("there are not as many host addresses as hosts"));
    }
    let ports = ports(list("port").unwrap_or_default(), count)?;
    let item = |list: &Option<Vec<&str>>, at: usize| {
        list.as_ref().and_then(|list| list.get(at)).map_or("", |text| text.trim()).to_owned()
    };
    let mut hosts = Vec::with_capacity(count);
    for (at, port) in ports.into_iter().enumerate() {
        let address = address(item(&names, at), &item(&addresses, at))?;
        hosts.push(Host { address, port });
    }
    Ok(hosts)
}

fn address(name: String, ip: &str) -> Result<Address> {
    if ip.is_empty() {
        return Ok(match name.as_str() {
            "" => Address::DefaultUnix,
            path if path.starts_with('/') => Address::Unix(PathBuf::from(name)),
            _ => Address::Tcp { name, ip: None },
        });
    }
    let ip: IpAddr =
        ip.parse().map_err(|_| usage(format!("host address \"{ip}\" is not an IP address")))?;
    Ok(Address::Tcp { name, ip: Some(ip) })
}

fn ports(list: Vec<&str>, count: usize) -> Result<Vec<u16>> {
    const DEFAULT: u16 = 5432;
    let ports =
        list.iter()
            .map(|text| match text.trim() {
                "" => Ok(DEFAULT),
                text => text.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
                    usage(format!("port \"{text}\" is not a number from 1 to 65535"))
                }),
            })
            .collect::<Result<Vec<u16>>>()?;
    match ports.as_slice() {
        [] => Ok(vec![DEFAULT; count]),
        [one] => Ok(vec![*one; count]),
        many if many.len() == count => Ok(ports),
        many => Err(usage(format!("there are {} ports for {count} hosts", many.len()))),
    }
}

/// Reads the password file. As libpq, one that others may read is not used.
fn passfile(
    values: &Values,
    surroundings: &dyn Surroundings,
    warnings: &mut Vec<String>,
) -> Passfile {
    if set(values, "password").is_some() {
        return Passfile::default();
    }
    let path = set(values, "passfile").map(PathBuf::from).or_else(|| home(surroundings, ".pgpass"));
    let Some(path) = path else { return Passfile::default() };
    let shown = path.display();
    match surroundings.read(&path) {
        Ok(contents) if contents.mode & 0o077 != 0 => {
            warnings.push(format!(
                "Password file \"{shown}\" is not used because others may read it; \
                 run: chmod 0600 \"{shown}\""
            ));
            Passfile::default()
        }
        Ok(contents) => Passfile::parse(&contents.text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Passfile::default(),
        Err(error) => {
            warnings.push(format!("Password file \"{shown}\" could not be read: {error}."));
            Passfile::default()
        }
    }
}

fn tls(values: &Values, surroundings: &dyn Surroundings) -> Result<TlsSettings> {
    let root = match set(values, "sslrootcert") {
        Some("system") => RootCertificates::System,
        Some(path) => RootCertificates::File(PathBuf::from(path)),
        None => default_file(surroundings, "root.crt")
            .map_or(RootCertificates::Unset, RootCertificates::File),
    };
    let system = root == RootCertificates::System;
    let mode = match (set(values, "sslmode"), system) {
        (None, true) => SslMode::VerifyFull,
        (None, false) => SslMode::Prefer,
        (Some(text), _) => ssl_mode(text)?,
    };
    // Anybody can have a certificate of a public authority.
    if mode != SslMode::VerifyFull && system {
        return Err(usage("sslrootcert \"system\" needs sslmode \"verify-full\""));
    }
    let direct = match set(values, "sslnegotiation") {
        None | Some("postgres") => false,
        Some("direct") => true,
        Some(other) => return Err(wrong("sslnegotiation", other, "postgres, direct")),
    };
    if direct && matches!(mode, SslMode::Disable | SslMode::Allow | SslMode::Prefer) {
        return Err(usage("sslnegotiation \"direct\" needs sslmode \"require\" or stronger"));
    }
    let only_tls13 = match set(values, "ssl_min_protocol_version") {
        None | Some("TLSv1" | "TLSv1.1" | "TLSv1.2") => false,
        Some("TLSv1.3") => true,
        Some(other) => return Err(wrong("ssl_min_protocol_version", other, "TLSv1.2, TLSv1.3")),
    };
    let client = client_certificate(values, surroundings)?;
    let server_name_indication = set(values, "sslsni") != Some("0");
    Ok(TlsSettings { mode, root, client, server_name_indication, direct, only_tls13 })
}

fn client_certificate(
    values: &Values,
    surroundings: &dyn Surroundings,
) -> Result<Option<ClientCertificate>> {
    if set(values, "sslcertmode") == Some("disable") {
        return Ok(None);
    }
    let named = set(values, "sslcert").map(PathBuf::from);
    let Some(certificate) = named.or_else(|| default_file(surroundings, "postgresql.crt")) else {
        return Ok(None);
    };
    let key = set(values, "sslkey").map(PathBuf::from);
    let key = key.or_else(|| default_file(surroundings, "postgresql.key")).ok_or_else(|| {
        usage(format!("client certificate \"{}\" has no key", certificate.display()))
            .hint("Name the key's file with sslkey.")
    })?;
    Ok(Some(ClientCertificate { certificate, key }))
}

/// A file of `~/.postgresql`, when it is there.
fn default_file(surroundings: &dyn Surroundings, name: &str) -> Option<PathBuf> {
    home(surroundings, ".postgresql")
        .map(|directory| directory.join(name))
        .filter(|path| surroundings.exists(path))
}

fn ssl_mode(text: &str) -> Result<SslMode> {
    Ok(match text {
        "disable" => SslMode::Disable,
        "allow" => SslMode::Allow,
        "prefer" => SslMode::Prefer,
        "require" => SslMode::Require,
        "verify-ca" => SslMode::VerifyCa,
        "verify-full" => SslMode::VerifyFull,
        other => {
            let words = "disable, allow, prefer, require, verify-ca, verify-full";
            return Err(wrong("sslmode", other, words));
        }
    })
}

fn channel_binding(values: &Values) -> Result<ChannelBinding> {
    Ok(match set(values, "channel_binding") {
        None | Some("prefer") => ChannelBinding::Prefer,
        Some("disable") => ChannelBinding::Disable,
        Some("require") => ChannelBinding::Require,
        Some(other) => return Err(wrong("channel_binding", other, "disable, prefer, require")),
    })
}

fn target(values: &Values) -> Result<TargetSession> {
    Ok(match set(values, "target_session_attrs") {
        None | Some("any") => TargetSession::Any,
        Some("read-write") => TargetSession::ReadWrite,
        Some("read-only") => TargetSession::ReadOnly,
        Some("primary") => TargetSession::Primary,
        Some("standby") => TargetSession::Standby,
        Some("prefer-standby") => TargetSession::PreferStandby,
        Some(other) => {
            let words = "any, read-write, read-only, primary, standby, prefer-standby";
            return Err(wrong("target_session_attrs", other, words));
        }
    })
}

/// `connect_timeout` in seconds; 0 or less is no limit, and 1 counts as 2, as in libpq.
fn connect_timeout(values: &Values) -> Result<Option<Duration>> {
    let Some(text) = set(values, "connect_timeout") else { return Ok(Some(CONNECT_TIMEOUT)) };
    let seconds: i32 = text
        .trim()
        .parse()
        .map_err(|_| usage(format!("connect_timeout \"{text}\" is not a number of seconds")))?;
    let seconds = u64::try_from(seconds).unwrap_or(0);
    Ok((seconds > 0).then(|| Duration::from_secs(seconds.max(2))))
}

fn wrong(keyword: &str, value: &str, allowed: &str) -> crate::Error {
    usage(format!("{keyword} value \"{value}\" does not exist"))
        .hint(format!("Allowed values are: {allowed}."))
}
