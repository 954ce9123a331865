//! Triggers that do not fire while rows come in, for roles that may not say so of their whole
//! session: the user's triggers of a table are disabled and enabled again as they were, in the
//! transaction of its rows. Those of foreign keys are a superuser's, and go on checking.

use crate::Result;
use crate::postgres::{WireSession, identifier, literal};

/// Triggers that are disabled, each with the words that enable it as it was.
#[derive(Debug, Default)]
pub(super) struct Triggers(Vec<(String, &'static str)>);

impl Triggers {
    /// Disables the triggers of a table, which `only` and `relation` name as SQL.
    pub(super) async fn disable(
        wire: &mut WireSession,
        only: &str,
        relation: &str,
    ) -> Result<Self> {
        let sql = format!(
            "SELECT tgname, tgenabled FROM pg_catalog.pg_trigger \
             WHERE tgrelid = {}::pg_catalog.regclass AND NOT tgisinternal AND tgenabled <> 'D'",
            literal(relation)
        );
        let mut triggers = Vec::new();
        for row in wire.query(&sql).await? {
            let enable = match row.text("tgenabled")? {
                "A" => "ENABLE ALWAYS",
                "R" => "ENABLE REPLICA",
                _ => "ENABLE",
            };
            triggers.push((row.text("tgname")?.to_owned(), enable));
        }
        for (name, _) in &triggers {
            let name = identifier(name);
            wire.execute(&format!("ALTER TABLE {only}{relation} DISABLE TRIGGER {name}")).await?;
        }
        Ok(Self(triggers))
    }

    /// Makes them fire again when they did before.
    pub(super) async fn enable(
        &self,
        wire: &mut WireSession,
        only: &str,
        relation: &str,
    ) -> Result<()> {
        for (name, enable) in &self.0 {
            let name = identifier(name);
            wire.execute(&format!("ALTER TABLE {only}{relation} {enable} TRIGGER {name}")).await?;
        }
        Ok(())
    }
}
