//! Procedural languages and access methods that no extension brought.

use crate::Result;
use crate::catalog::array;
use crate::catalog::context::Context;
use crate::catalog::satellites::FIRST_USER_OID;
use crate::catalog::source::Owner;
use crate::catalog::{Address, Draft, Privileges};
use crate::postgres::identifier;
use pgkeep_format::entry::{Kind, Section};

/// Every such language and access method.
pub(in crate::catalog) async fn read(context: &Context<'_>) -> Result<Vec<Draft>> {
    let mut drafts = languages(context).await?;
    drafts.extend(access_methods(context).await?);
    Ok(drafts)
}

async fn languages(context: &Context<'_>) -> Result<Vec<Draft>> {
    let rows = context
        .ask(
            Owner::object("pg_language", "oid"),
            &format!(
                "SELECT l.oid, l.lanname, l.lanpltrusted, r.rolname AS owner, l.lanacl AS acl, \
                    pg_catalog.acldefault('l', l.lanowner) AS standard, \
                    nullif(l.lanplcallfoid::pg_catalog.regproc::pg_catalog.text, '-') AS handler, \
                    nullif(l.laninline::pg_catalog.regproc::pg_catalog.text, '-') AS inline, \
                    nullif(l.lanvalidator::pg_catalog.regproc::pg_catalog.text, '-') AS validator \
             FROM pg_catalog.pg_language l \
             LEFT JOIN pg_catalog.pg_roles r ON r.oid = l.lanowner \
             WHERE l.lanispl AND l.oid >= {FIRST_USER_OID} ORDER BY l.lanname"
            ),
        )
        .await?;
    let mut drafts = Vec::new();
    for row in &rows {
        let address = Address::new("pg_language", row.parse("oid")?);
        if context.extension_of(address).is_some() {
            continue;
        }
        let name = row.text("lanname")?;
        let target = format!("LANGUAGE {}", identifier(name));
        let trusted = if row.bool("lanpltrusted")? { "TRUSTED " } else { "" };
        let mut sql = format!("CREATE {trusted}{target}");
        for option in ["handler", "inline", "validator"] {
            if let Some(function) = row.optional(option)? {
                sql.push_str(&format!(" {} {function}", option.to_ascii_uppercase()));
            }
        }
        let mut draft = Draft::new(Kind::Language, Section::PreData, None, name);
        draft.address = Some(address);
        draft.owner = row.optional("owner")?.map(str::to_owned);
        draft.privileges.push(Privileges {
            target: target.clone(),
            column: None,
            items: array::optional_elements(row.optional("acl")?)?,
            default: array::optional_elements(row.optional("standard")?)?.unwrap_or_default(),
        });
        draft.body = format!("{sql};").into();
        draft.drop = Some(format!("DROP {target};"));
        draft.target = Some(target);
        drafts.push(draft);
    }
    Ok(drafts)
}

async fn access_methods(context: &Context<'_>) -> Result<Vec<Draft>> {
    let rows = context
        .ask(
            Owner::object("pg_am", "oid"),
            &format!(
                "SELECT a.oid, a.amname, a.amtype, a.amhandler::pg_catalog.regproc AS handler \
             FROM pg_catalog.pg_am a WHERE a.oid >= {FIRST_USER_OID} ORDER BY a.amname"
            ),
        )
        .await?;
    let mut drafts = Vec::new();
    for row in &rows {
        let address = Address::new("pg_am", row.parse("oid")?);
        if context.extension_of(address).is_some() {
            continue;
        }
        let name = row.text("amname")?;
        let target = format!("ACCESS METHOD {}", identifier(name));
        let of = if row.text("amtype")? == "t" { "TABLE" } else { "INDEX" };
        let mut draft = Draft::new(Kind::AccessMethod, Section::PreData, None, name);
        draft.address = Some(address);
        draft.body = format!("CREATE {target} TYPE {of} HANDLER {};", row.text("handler")?).into();
        draft.drop = Some(format!("DROP {target};"));
        draft.target = Some(target);
        drafts.push(draft);
    }
    Ok(drafts)
}
