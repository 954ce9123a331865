//! The database as an object: CREATE DATABASE, and what ALTER DATABASE sets.
//!
//! A restore uses these only where it makes the database itself. CREATE DATABASE is one
//! statement, for no other may stand beside it in a transaction.

use crate::Result;
use crate::catalog::array;
use crate::catalog::context::Context;
use crate::catalog::source::Owner;
use crate::catalog::{Address, DatabaseFacts, Draft, Privileges};
use crate::postgres::{Row, identifier, literal};
use pgkeep_format::entry::{Kind, Section};

/// The database, and its properties where it has any that are not the default.
pub(in crate::catalog) async fn read(
    context: &Context<'_>,
    facts: &DatabaseFacts,
) -> Result<Vec<Draft>> {
    let rows = context
        .ask(
            Owner::Whole,
            &format!(
                "SELECT r.rolname AS owner, d.datacl AS acl, \
                    pg_catalog.acldefault('d', d.datdba) AS standard, \
                    d.datistemplate, d.datconnlimit, \
                    nullif(t.spcname, 'pg_default') AS tablespace \
             FROM pg_catalog.pg_database d \
             JOIN pg_catalog.pg_tablespace t ON t.oid = d.dattablespace \
             LEFT JOIN pg_catalog.pg_roles r ON r.oid = d.datdba \
             WHERE d.oid = {}",
                facts.oid
            ),
        )
        .await?;
    let mut drafts = Vec::new();
    for row in &rows {
        drafts.push(database(facts, row)?);
        let mut sql = flags(facts, row)?;
        sql.extend(settings(context, facts).await?);
        if !sql.is_empty() {
            let mut draft =
                Draft::new(Kind::DatabaseProperties, Section::PreData, None, &facts.name);
            draft.belongs_to = Some(Address::new("pg_database", facts.oid));
            draft.body = sql.join("\n").into();
            drafts.push(draft);
        }
    }
    Ok(drafts)
}

fn database(facts: &DatabaseFacts, row: &Row) -> Result<Draft> {
    let target = format!("DATABASE {}", identifier(&facts.name));
    let mut draft = Draft::new(Kind::Database, Section::PreData, None, &facts.name);
    draft.address = Some(Address::new("pg_database", facts.oid));
    draft.owner = row.optional("owner")?.map(str::to_owned);
    draft.privileges.push(Privileges {
        target: target.clone(),
        column: None,
        items: array::optional_elements(row.optional("acl")?)?,
        default: array::optional_elements(row.optional("standard")?)?.unwrap_or_default(),
    });
    let mut options =
        vec!["TEMPLATE = template0".to_owned(), format!("ENCODING = {}", literal(&facts.encoding))];
    options.extend(locale(facts));
    if let Some(tablespace) = row.optional("tablespace")? {
        options.push(format!("TABLESPACE = {}", identifier(tablespace)));
    }
    draft.body = format!("CREATE {target} WITH\n    {};", options.join("\n    ")).into();
    draft.drop = Some(format!("DROP {target};"));
    draft.target = Some(target);
    Ok(draft)
}

/// The options of CREATE DATABASE that say how text is sorted. Servers before 15 know no
/// provider but libc.
fn locale(facts: &DatabaseFacts) -> Vec<String> {
    let mut options = Vec::new();
    if facts.server_version >= 150_000 {
        let provider = match facts.locale_provider.as_str() {
            "i" => "icu",
            "b" => "builtin",
            _ => "libc",
        };
        options.push(format!("LOCALE_PROVIDER = {provider}"));
    }
    options.push(format!("LC_COLLATE = {}", literal(&facts.collate)));
    options.push(format!("LC_CTYPE = {}", literal(&facts.ctype)));
    if let Some(locale) = &facts.locale {
        let option = if facts.locale_provider == "b" { "BUILTIN_LOCALE" } else { "ICU_LOCALE" };
        options.push(format!("{option} = {}", literal(locale)));
    }
    if let Some(rules) = &facts.icu_rules {
        options.push(format!("ICU_RULES = {}", literal(rules)));
    }
    options
}

fn flags(facts: &DatabaseFacts, row: &Row) -> Result<Vec<String>> {
    let name = identifier(&facts.name);
    let mut sql = Vec::new();
    if row.bool("datistemplate")? {
        sql.push(format!("ALTER DATABASE {name} IS_TEMPLATE = true;"));
    }
    let limit: i32 = row.parse("datconnlimit")?;
    if limit != -1 {
        sql.push(format!("ALTER DATABASE {name} CONNECTION LIMIT = {limit};"));
    }
    Ok(sql)
}

/// Settings of the database, and of roles in this database alone.
async fn settings(context: &Context<'_>, facts: &DatabaseFacts) -> Result<Vec<String>> {
    let rows = context
        .ask(
            Owner::Whole,
            &format!(
                "SELECT r.rolname AS role, s.setconfig \
             FROM pg_catalog.pg_db_role_setting s \
             LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole \
             WHERE s.setdatabase = {} AND (s.setrole = 0 OR r.rolname IS NOT NULL) \
             ORDER BY r.rolname NULLS FIRST",
                facts.oid
            ),
        )
        .await?;
    let name = identifier(&facts.name);
    let mut sql = Vec::new();
    for row in &rows {
        let whom = match row.optional("role")? {
            Some(role) => format!("ROLE {} IN DATABASE {name}", identifier(role)),
            None => format!("DATABASE {name}"),
        };
        let settings = array::optional_elements(row.optional("setconfig")?)?.unwrap_or_default();
        sql.extend(assignments(&whom, &settings));
    }
    Ok(sql)
}

/// A statement for each of `settings`, which are `parameter=value`; `whom` is what ALTER calls
/// the role or database.
pub(in crate::catalog) fn assignments(whom: &str, settings: &[String]) -> Vec<String> {
    let pairs = settings.iter().filter_map(|setting| setting.split_once('='));
    pairs
        .map(|(parameter, value)| {
            let value = parameter_value(parameter, value);
            format!("ALTER {whom} SET {} TO {value};", identifier(parameter))
        })
        .collect()
}

/// Parameters whose value is a list of quoted names: given back as one string, the list
/// would become one name. None but these can be so: no extension may make one.
const LISTS: &[&str] = &[
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// What follows `SET … TO`.
fn parameter_value(parameter: &str, value: &str) -> String {
    let names = if LISTS.contains(&parameter.to_ascii_lowercase().as_str()) {
        names(value).unwrap_or_default()
    } else {
        Vec::new()
    };
    if names.is_empty() {
        return literal(value);
    }
    let names: Vec<String> = names.iter().map(|name| literal(name)).collect();
    names.join(", ")
}

/// Names of a list such as `"$user", public`; absent where it is no such list.
fn names(list: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut rest = list.trim_start();
    while !rest.is_empty() {
        let mut name = String::new();
        if let Some(mut quoted) = rest.strip_prefix('"') {
            loop {
                let (part, after) = quoted.split_once('"')?;
                name.push_str(part);
                quoted = after;
                match quoted.strip_prefix('"') {
                    Some(after) => {
                        name.push('"');
                        quoted = after;
                    }
                    None => break,
                }
            }
            rest = quoted.trim_start();
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            let (bare, after) = rest.split_at(end);
            name.push_str(bare.trim_end());
            if name.is_empty() {
                return None;
            }
            rest = after;
        }
        names.push(name);
        if !rest.is_empty() {
            rest = rest.strip_prefix(',')?.trim_start();
            if rest.is_empty() {
                return None;
            }
        }
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_list_of_names_is_given_back_name_by_name() {
        let cases = [
            ("search_path", "\"$user\", public", "'$user', 'public'"),
            ("search_path", "\"a, \"\"b\"\"\",c", "'a, \"b\"', 'c'"),
            ("search_path", "\"\"", "''"),
            ("search_path", "", "''"),
            ("Search_Path", "a,b", "'a', 'b'"),
            ("search_path", "\"broken", "'\"broken'"),
            ("datestyle", "ISO, DMY", "'ISO, DMY'"),
            ("my.setting", "it's", "'it''s'"),
        ];
        for (parameter, value, expected) in cases {
            assert_eq!(parameter_value(parameter, value), expected, "{parameter}={value}");
        }
    }

    proptest! {
        #[test]
        fn any_names_come_back(expected in proptest::collection::vec(".*", 1..5)) {
            let quoted: Vec<String> = expected.iter().map(|name| identifier(name)).collect();
            prop_assert_eq!(names(&quoted.join(", ")).unwrap(), expected);
        }
    }
}
