//! What is said about objects: owners, privileges, comments, security labels. Each becomes an entry of its
//! own that belongs to the object, so that a restore can leave it out.
//!
//! Members of extensions have neither owner nor comment here, for `CREATE EXTENSION` gives
//! them; for privileges changed since then see `given_privileges`.

pub(in crate::catalog) mod acl;
mod given_privileges;
mod said;

use crate::Result;
use crate::catalog::context::Context;
use crate::catalog::source::{Owner, Source};
use crate::catalog::{Address, Draft, Privileges};
use crate::postgres::identifier;
use pgkeep_format::entry::Kind;
use std::collections::HashSet;
use tokio::try_join;

/// The first OID that `initdb` does not use.
pub(in crate::catalog) const FIRST_USER_OID: u32 = 16_384;

/// Owners, privileges, comments and security labels of `drafts`.
pub(in crate::catalog) async fn read(
    context: &Context<'_>,
    drafts: &[Draft],
    warnings: &mut Vec<String>,
) -> Result<Vec<Draft>> {
    let roles = roles(context.source).await?;
    let mut satellites = Vec::new();
    for draft in drafts {
        satellites.extend(owner(draft));
        for privileges in &draft.privileges {
            let exists = |role: &str| roles.contains(role);
            warnings.extend(dropped_roles(privileges, &roles)?);
            let sql = acl::statements(privileges, draft.owner.as_deref(), "", exists)?;
            if !sql.is_empty() {
                let mut satellite = satellite(Kind::Acl, draft, draft.address);
                if let Some(column) = &privileges.column {
                    satellite.name = column_name(draft, column);
                }
                satellite.body = sql.into();
                satellites.push(satellite);
            }
        }
    }
    let (given, said) =
        try_join!(given_privileges::read(context, drafts, &roles), said::read(context, drafts))?;
    satellites.extend(given);
    satellites.extend(said);
    Ok(satellites)
}

/// A warning where privileges name roles that are gone, as an aclitem shows them: by number.
fn dropped_roles(privileges: &Privileges, roles: &HashSet<String>) -> Result<Option<String>> {
    let gone = acl::roles(privileges)?.into_iter().filter(|role| !roles.contains(role));
    let gone: Vec<String> = gone.map(|role| format!("\"{role}\"")).collect();
    Ok((!gone.is_empty()).then(|| {
        format!(
            "privileges on {} that name {} are not in the backup: there is no such role",
            privileges.target,
            gone.join(", ")
        )
    }))
}

/// The names of all roles.
pub(in crate::catalog) async fn roles(source: &Source<'_>) -> Result<HashSet<String>> {
    let sql = "SELECT rolname FROM pg_catalog.pg_roles ORDER BY rolname";
    let rows = source.ask(Owner::Whole, sql).await?;
    rows.iter().map(|row| Ok(row.text("rolname")?.to_owned())).collect()
}

/// A satellite of `draft` that says nothing yet, named after the object's kind and name.
fn satellite(kind: Kind, draft: &Draft, belongs_to: Option<Address>) -> Draft {
    let name = format!("{} {}", draft.kind.as_str(), draft.name);
    let mut satellite = Draft::new(kind, draft.section, draft.schema.as_deref(), &name);
    satellite.belongs_to = belongs_to;
    satellite
}

fn column_name(draft: &Draft, column: &str) -> String {
    format!("COLUMN {}.{column}", draft.name)
}

fn owner(draft: &Draft) -> Option<Draft> {
    let (owner, target) = (draft.owner.as_deref()?, draft.target.as_deref()?);
    if is_public(draft) && owner == "pg_database_owner" {
        return None;
    }
    let owner = identifier(owner);
    let sql = if draft.kind == Kind::LargeObject {
        // A draft of large objects stands for many, and ALTER takes one at a time.
        let all = draft.address.iter().chain(&draft.stands_for);
        let lines: Vec<String> =
            all.map(|one| format!("ALTER LARGE OBJECT {} OWNER TO {owner};", one.oid)).collect();
        lines.join("\n")
    } else {
        format!("ALTER {target} OWNER TO {owner};")
    };
    let mut satellite = satellite(Kind::Owner, draft, draft.address);
    satellite.body = sql.into();
    Some(satellite)
}

fn is_public(draft: &Draft) -> bool {
    draft.kind == Kind::Schema && draft.name == "public"
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgkeep_format::entry::Section;

    #[test]
    fn large_objects_get_their_owner_one_by_one() {
        let mut draft = Draft::new(Kind::LargeObject, Section::PreData, None, "1..2");
        draft.address = Some(Address::new("pg_largeobject", 1));
        draft.stands_for = vec![Address::new("pg_largeobject", 2)];
        draft.target = Some("LARGE OBJECT 1, 2".to_owned());
        draft.owner = Some("o".to_owned());
        let expected = "ALTER LARGE OBJECT 1 OWNER TO \"o\";\nALTER LARGE OBJECT 2 OWNER TO \"o\";";
        assert_eq!(owner(&draft).unwrap().body, expected.to_owned().into());
    }

    #[test]
    fn what_has_no_owner_gets_no_statement() {
        let draft = Draft::new(Kind::Trigger, Section::PostData, Some("s"), "t");
        assert!(owner(&draft).is_none());
    }
}
