//! Default privileges: what `ALTER DEFAULT PRIVILEGES` set for objects made later.

use crate::Result;
use crate::catalog::array;
use crate::catalog::context::Context;
use crate::catalog::satellites;
use crate::catalog::satellites::acl;
use crate::catalog::source::Owner;
use crate::catalog::{Address, Draft, Privileges};
use crate::postgres::{Row, identifier};
use pgkeep_format::entry::{Kind, Section};

/// Every set of default privileges, by role, schema and sort of object.
pub(in crate::catalog) async fn read(context: &Context<'_>) -> Result<Vec<Draft>> {
    // Privileges for one schema add to those for all, so they start from nothing.
    let rows = context.ask(Owner::object("pg_default_acl", "oid"), 
            "SELECT d.oid, r.rolname AS role, n.nspname, n.oid AS namespace, d.defaclobjtype AS type, \
                    d.defaclacl AS acl, \
                    CASE WHEN d.defaclnamespace = 0 THEN pg_catalog.acldefault( \
                      CASE d.defaclobjtype WHEN 'S' THEN 's' ELSE d.defaclobjtype END, \
                      d.defaclrole) END AS standard \
             FROM pg_catalog.pg_default_acl d \
             JOIN pg_catalog.pg_roles r ON r.oid = d.defaclrole \
             LEFT JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace \
             ORDER BY n.nspname, r.rolname, d.defaclobjtype",
        )
        .await?;
    let roles = satellites::roles(context.source).await?;
    let mut drafts = Vec::new();
    for row in &rows {
        let address = Address::new("pg_default_acl", row.parse("oid")?);
        let (role, schema) = (row.text("role")?, row.optional("nspname")?);
        let Some(objects) = objects(row.text("type")?) else { continue };
        let privileges = Privileges {
            target: objects.to_owned(),
            column: None,
            items: array::optional_elements(row.optional("acl")?)?,
            default: array::optional_elements(row.optional("standard")?)?.unwrap_or_default(),
        };
        let mut prefix = format!("ALTER DEFAULT PRIVILEGES FOR ROLE {} ", identifier(role));
        if let Some(schema) = schema {
            prefix.push_str(&format!("IN SCHEMA {} ", identifier(schema)));
        }
        let exists = |role: &str| roles.contains(role);
        let sql = acl::statements(&privileges, Some(role), &prefix, exists)?;
        if context.extension_of(address).is_some() || sql.is_empty() {
            continue;
        }
        let name = format!("DEFAULT PRIVILEGES FOR ROLE {role} ON {objects}");
        let mut draft = Draft::new(Kind::DefaultAcl, Section::PostData, schema, &name);
        draft.address = Some(address);
        draft.body = sql.into();
        // What is set for all schemas, or for one that stays, would change what a restore
        // makes next.
        let back = Privileges {
            items: Some(privileges.default.clone()),
            default: privileges.items.clone().unwrap_or_default(),
            ..privileges
        };
        draft.drop = Some(acl::statements(&back, Some(role), &prefix, exists)?);
        if schema != Some("public") {
            draft.belongs_to = schema_address(row)?;
        }
        drafts.push(draft);
    }
    Ok(drafts)
}

fn schema_address(row: &Row) -> Result<Option<Address>> {
    Ok(match row.optional("namespace")? {
        Some(_) => Some(Address::new("pg_namespace", row.parse("namespace")?)),
        None => None,
    })
}

/// What ALTER DEFAULT PRIVILEGES calls a sort of object
/// (<https://www.postgresql.org/docs/18/catalog-pg-default-acl.html>).
fn objects(letter: &str) -> Option<&'static str> {
    Some(match letter {
        "r" => "TABLES",
        "S" => "SEQUENCES",
        "f" => "FUNCTIONS",
        "T" => "TYPES",
        "n" => "SCHEMAS",
        "L" => "LARGE OBJECTS",
        _ => return None,
    })
}
