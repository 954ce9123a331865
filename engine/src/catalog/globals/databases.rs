//! Which databases a server has.

use crate::Result;
use crate::catalog::selection::NameMatcher;
use crate::postgres::Session;

/// The databases of a server that can be backed up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Databases {
    /// Their names, ascending by bytes.
    pub names: Vec<String>,
    /// Which are left out though nobody asked for it, a sentence each.
    pub warnings: Vec<String>,
}

/// Lists the databases that allow connections, but for those whose name matches one of the
/// patterns `exclude`.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for what is no pattern; whatever the server
/// reports.
pub async fn databases(session: &Session, exclude: &[String]) -> Result<Databases> {
    let exclude: Vec<NameMatcher> =
        exclude.iter().map(|pattern| NameMatcher::for_schema(pattern)).collect::<Result<_>>()?;
    let rows = session
        .query(
            "SELECT d.datname, d.datallowconn, d.datistemplate FROM pg_catalog.pg_database d \
             ORDER BY d.datname COLLATE \"C\"",
        )
        .await?;
    let mut databases = Databases::default();
    for row in &rows {
        let name = row.text("datname")?;
        if exclude.iter().any(|matcher| matcher.matches("", name)) {
            continue;
        }
        if row.bool("datallowconn")? {
            databases.names.push(name.to_owned());
        } else if !row.bool("datistemplate")? {
            let warning =
                format!("database \"{name}\" is not in the backup: it allows no connection");
            databases.warnings.push(warning);
        }
    }
    databases.names.sort_unstable();
    Ok(databases)
}
