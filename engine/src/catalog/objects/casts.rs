//! Casts and transforms: how a type becomes another, or a value of a language.

use crate::Result;
use crate::catalog::context::Context;
use crate::catalog::satellites::FIRST_USER_OID;
use crate::catalog::source::Owner;
use crate::catalog::{Address, Draft};
use crate::postgres::identifier;
use pgkeep_format::entry::{Kind, Section};

/// Every cast and transform that a user made.
pub(in crate::catalog) async fn read(context: &Context<'_>) -> Result<Vec<Draft>> {
    let mut drafts = casts(context).await?;
    drafts.extend(transforms(context).await?);
    Ok(drafts)
}

async fn casts(context: &Context<'_>) -> Result<Vec<Draft>> {
    // The cast from a range to its multirange comes with the range.
    let rows = context
        .ask(
            Owner::object("pg_cast", "oid"),
            &format!(
                "SELECT c.oid, c.castcontext, c.castmethod, \
                    pg_catalog.format_type(c.castsource, NULL) AS source, \
                    pg_catalog.format_type(c.casttarget, NULL) AS target, \
                    c.castfunc::pg_catalog.regprocedure AS function \
             FROM pg_catalog.pg_cast c \
             WHERE c.oid >= {FIRST_USER_OID} AND NOT EXISTS ( \
               SELECT FROM pg_catalog.pg_range r \
               WHERE r.rngtypid = c.castsource AND r.rngmultitypid = c.casttarget) \
             ORDER BY 4, 5"
            ),
        )
        .await?;
    let mut drafts = Vec::new();
    for row in &rows {
        let address = Address::new("pg_cast", row.parse("oid")?);
        if context.extension_of(address).is_some() {
            continue;
        }
        let name = format!("({} AS {})", row.text("source")?, row.text("target")?);
        let how = match row.text("castmethod")? {
            "b" => "WITHOUT FUNCTION".to_owned(),
            "i" => "WITH INOUT".to_owned(),
            _ => format!("WITH FUNCTION {}", row.text("function")?),
        };
        let when = match row.text("castcontext")? {
            "a" => " AS ASSIGNMENT",
            "i" => " AS IMPLICIT",
            _ => "",
        };
        let mut draft = Draft::new(Kind::Cast, Section::PreData, None, &name);
        draft.address = Some(address);
        draft.body = format!("CREATE CAST {name} {how}{when};").into();
        draft.drop = Some(format!("DROP CAST {name};"));
        draft.target = Some(format!("CAST {name}"));
        drafts.push(draft);
    }
    Ok(drafts)
}

async fn transforms(context: &Context<'_>) -> Result<Vec<Draft>> {
    let rows = context.ask(Owner::object("pg_transform", "oid"), 
            "SELECT t.oid, pg_catalog.format_type(t.trftype, NULL) AS type, l.lanname, \
                    nullif(t.trffromsql::pg_catalog.regprocedure::pg_catalog.text, '-') AS from_sql, \
                    nullif(t.trftosql::pg_catalog.regprocedure::pg_catalog.text, '-') AS to_sql \
             FROM pg_catalog.pg_transform t \
             JOIN pg_catalog.pg_language l ON l.oid = t.trflang \
             ORDER BY 2, 3",
        )
        .await?;
    let mut drafts = Vec::new();
    for row in &rows {
        let address = Address::new("pg_transform", row.parse("oid")?);
        if context.extension_of(address).is_some() {
            continue;
        }
        let (data_type, language) = (row.text("type")?, row.text("lanname")?);
        let mut functions = Vec::new();
        for (direction, column) in [("FROM SQL", "from_sql"), ("TO SQL", "to_sql")] {
            if let Some(function) = row.optional(column)? {
                functions.push(format!("{direction} WITH FUNCTION {function}"));
            }
        }
        let target = format!("TRANSFORM FOR {data_type} LANGUAGE {}", identifier(language));
        let name = format!("{data_type} {language}");
        let mut draft = Draft::new(Kind::Transform, Section::PreData, None, &name);
        draft.address = Some(address);
        draft.body = format!("CREATE {target} ({});", functions.join(", ")).into();
        draft.drop = Some(format!("DROP {target};"));
        draft.target = Some(target);
        drafts.push(draft);
    }
    Ok(drafts)
}
