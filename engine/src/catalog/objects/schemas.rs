//! Schemas. `public` is made by `initdb`, so only what differs from there is told.

use crate::Result;
use crate::catalog::array;
use crate::catalog::context::Context;
use crate::catalog::source::Owner;
use crate::catalog::{Address, Draft, Privileges};
use crate::postgres::{Row, identifier};
use pgkeep_format::entry::{Kind, Section};

/// The condition under which a row of `pg_namespace n` may hold a user's objects. What pgkeep
/// installed is the server's, not the database's: it is not restored.
pub(in crate::catalog) const USER_SCHEMA: &str = "n.nspname NOT LIKE 'pg\\_%' \
    AND n.nspname NOT IN ('information_schema', 'pgkeep')";

/// Every schema that is not the server's own.
pub(in crate::catalog) async fn read(context: &Context<'_>) -> Result<Vec<Draft>> {
    let rows = context
        .ask(
            Owner::object("pg_namespace", "oid"),
            &format!(
                "SELECT n.oid, n.nspname, r.rolname AS owner, n.nspacl AS acl, \
                    pg_catalog.acldefault('n', n.nspowner) AS standard \
             FROM pg_catalog.pg_namespace n \
             LEFT JOIN pg_catalog.pg_roles r ON r.oid = n.nspowner \
             WHERE {USER_SCHEMA} ORDER BY n.nspname"
            ),
        )
        .await?;
    let mut drafts = Vec::new();
    for row in &rows {
        let address = Address::new("pg_namespace", row.parse("oid")?);
        if context.extension_of(address).is_none() {
            drafts.push(schema(address, row)?);
        }
    }
    Ok(drafts)
}

fn schema(address: Address, row: &Row) -> Result<Draft> {
    let name = row.text("nspname")?;
    let target = format!("SCHEMA {}", identifier(name));
    let mut draft = Draft::new(Kind::Schema, Section::PreData, None, name);
    draft.address = Some(address);
    draft.owner = row.optional("owner")?.map(str::to_owned);
    let mut privileges = Privileges {
        target: target.clone(),
        column: None,
        items: array::optional_elements(row.optional("acl")?)?,
        default: array::optional_elements(row.optional("standard")?)?.unwrap_or_default(),
    };
    if name == "public" {
        // The target database has one already, unless somebody dropped it there.
        draft.body = "CREATE SCHEMA IF NOT EXISTS \"public\";".to_owned().into();
        privileges = public_privileges(privileges, draft.owner.as_deref());
    } else {
        draft.body = format!("CREATE {target};").into();
        draft.drop = Some(format!("DROP {target};"));
    }
    draft.privileges.push(privileges);
    draft.target = Some(target);
    Ok(draft)
}

/// Privileges of `public` as against what `initdb` of version 15 and later gives it,
/// whatever the source's version: that is what the target starts with.
fn public_privileges(privileges: Privileges, owner: Option<&str>) -> Privileges {
    let Some(owner) = owner.map(identifier) else { return privileges };
    Privileges {
        items: privileges.items.or(Some(privileges.default)),
        default: vec![format!("{owner}=UC/{owner}"), format!("=U/{owner}")],
        ..privileges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_privileges_of_public_are_told_against_those_of_a_new_database() {
        let privileges = Privileges {
            target: "SCHEMA \"public\"".to_owned(),
            column: None,
            items: Some(vec!["o=UC/o".to_owned(), "=UC/o".to_owned()]),
            default: vec!["o=UC/o".to_owned()],
        };
        let privileges = public_privileges(privileges, Some("o"));
        let sql = crate::catalog::satellites::acl::statements(&privileges, Some("o"), "", |_| true)
            .unwrap();
        assert_eq!(sql, "GRANT CREATE ON SCHEMA \"public\" TO PUBLIC;");
    }
}
