//! Access control lists: `aclitem`s as the catalogs show them, and the GRANT and REVOKE
//! statements that lead from one list to another.
//!
//! Privileges are always named one by one, never as `ALL`, so that a newer server on
//! which `ALL` means more gets what the older one had.

use crate::catalog::Privileges;
use crate::postgres::identifier;
use crate::{Error, ErrorKind, Result};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// What one role gave another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::catalog) struct AclItem {
    /// Who has the privileges; absent for PUBLIC.
    pub(in crate::catalog) grantee: Option<String>,
    /// The privileges in the catalog's order.
    pub(in crate::catalog) rights: Vec<Right>,
    /// Who gave them.
    pub(in crate::catalog) grantor: String,
}

/// One privilege of an [`AclItem`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::catalog) struct Right {
    /// What GRANT calls it.
    pub(in crate::catalog) name: &'static str,
    /// Whether the grantee may pass it on.
    pub(in crate::catalog) grantable: bool,
}

/// Letters of `aclitem` and the words of GRANT
/// (<https://www.postgresql.org/docs/18/ddl-priv.html#PRIVILEGE-ABBREVS-TABLE>).
const RIGHTS: &[(char, &str)] = &[
    ('r', "SELECT"),
    ('a', "INSERT"),
    ('w', "UPDATE"),
    ('d', "DELETE"),
    ('D', "TRUNCATE"),
    ('x', "REFERENCES"),
    ('t', "TRIGGER"),
    ('m', "MAINTAIN"),
    ('X', "EXECUTE"),
    ('U', "USAGE"),
    ('C', "CREATE"),
    ('c', "CONNECT"),
    ('T', "TEMPORARY"),
    ('s', "SET"),
    ('A', "ALTER SYSTEM"),
];

impl AclItem {
    /// Reads the text form: `grantee=rights/grantor`, names quoted where they hold more
    /// than letters, digits and underscores.
    pub(in crate::catalog) fn parse(text: &str) -> Result<Self> {
        Self::read(text).ok_or_else(|| {
            Error::new(ErrorKind::Server, format!("server returned a malformed aclitem \"{text}\""))
        })
    }

    fn read(text: &str) -> Option<Self> {
        let (grantee, rest) = role(text, Some('='))?;
        let (letters, grantor) = rest.split_once('/')?;
        let (grantor, rest) = role(grantor, None)?;
        if grantor.is_empty() || !rest.is_empty() {
            return None;
        }
        let mut rights = Vec::new();
        let mut letters = letters.chars().peekable();
        while let Some(letter) = letters.next() {
            let (_, name) = RIGHTS.iter().find(|(known, _)| *known == letter)?;
            let grantable = letters.next_if_eq(&'*').is_some();
            rights.push(Right { name, grantable });
        }
        Some(Self { grantee: (!grantee.is_empty()).then_some(grantee), rights, grantor })
    }

    fn right(&self, name: &str) -> Option<Right> {
        self.rights.iter().find(|right| right.name == name).copied()
    }
}

/// Reads a role's name up to `end`, and gives what follows `end`.
fn role(text: &str, end: Option<char>) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut quoted = false;
    let mut chars = text.char_indices().peekable();
    while let Some((at, next)) = chars.next() {
        if next == '"' {
            if quoted && chars.next_if(|(_, next)| *next == '"').is_some() {
                name.push('"');
            } else {
                quoted = !quoted;
            }
        } else if !quoted && Some(next) == end {
            return Some((name, text.get(at + next.len_utf8()..)?));
        } else {
            name.push(next);
        }
    }
    (end.is_none() && !quoted).then_some((name, ""))
}

/// The statements that lead from the default privileges to the actual ones; empty where
/// these are the same.
///
/// `owner` grants in his own name; for another grantor the session takes his identity, for
/// only so does the grant become his. `prefix` stands before each statement (`ALTER DEFAULT
/// PRIVILEGES …`). Roles that `exists` does not know are left out: the catalogs keep the
/// number of a dropped role at times.
pub(in crate::catalog) fn statements(
    privileges: &Privileges,
    owner: Option<&str>,
    prefix: &str,
    exists: impl Fn(&str) -> bool,
) -> Result<String> {
    let Some(items) = &privileges.items else { return Ok(String::new()) };
    let known =
        |item: &AclItem| exists(&item.grantor) && item.grantee.as_deref().is_none_or(&exists);
    let read = |items: &[String]| -> Result<Vec<AclItem>> {
        let items: Vec<AclItem> =
            items.iter().map(|item| AclItem::parse(item)).collect::<Result<_>>()?;
        Ok(items.into_iter().filter(|item| known(item)).collect())
    };
    let (before, after) = (read(&privileges.default)?, read(items)?);
    let writer = Writer { privileges, prefix, owner };
    let mut sql = String::new();
    for item in &before {
        writer.revoke(&mut sql, item, counterpart(&after, item));
    }
    // Each list keeps the order in which privileges were passed on; but the owner's come
    // first, because some servers show those of PUBLIC before.
    let own = |item: &&AclItem| {
        owner.is_some_and(|owner| item.grantor == owner && item.grantee.as_deref() == Some(owner))
    };
    let others = after.iter().filter(|item| !own(item));
    for item in after.iter().filter(own).chain(others) {
        writer.grant(&mut sql, item, counterpart(&before, item));
    }
    Ok(sql)
}

/// The roles that privileges name, by name or, where they are gone, by number.
pub(in crate::catalog) fn roles(privileges: &Privileges) -> Result<BTreeSet<String>> {
    let mut roles = BTreeSet::new();
    for item in privileges.items.iter().flatten() {
        let item = AclItem::parse(item)?;
        roles.extend(item.grantee);
        roles.insert(item.grantor);
    }
    Ok(roles)
}

fn counterpart<'a>(items: &'a [AclItem], item: &AclItem) -> Option<&'a AclItem> {
    items.iter().find(|other| other.grantee == item.grantee && other.grantor == item.grantor)
}

struct Writer<'a> {
    privileges: &'a Privileges,
    prefix: &'a str,
    owner: Option<&'a str>,
}

impl Writer<'_> {
    /// Takes away what `item` has and `now` has not.
    fn revoke(&self, sql: &mut String, item: &AclItem, now: Option<&AclItem>) {
        let still = |name| now.and_then(|now| now.right(name));
        let (mut gone, mut bound) = (Vec::new(), Vec::new());
        for right in &item.rights {
            match still(right.name) {
                None => gone.push(right.name),
                Some(now) if right.grantable && !now.grantable => bound.push(right.name),
                Some(_) => {}
            }
        }
        let grantee = grantee(item);
        self.statement(sql, item, "REVOKE ", &gone, &format!("FROM {grantee}"));
        self.statement(sql, item, "REVOKE GRANT OPTION FOR ", &bound, &format!("FROM {grantee}"));
    }

    /// Gives what `item` has and `before` has not.
    fn grant(&self, sql: &mut String, item: &AclItem, before: Option<&AclItem>) {
        let (mut plain, mut grantable) = (Vec::new(), Vec::new());
        for right in &item.rights {
            let before = before.and_then(|before| before.right(right.name));
            match (right.grantable, before) {
                (true, None | Some(Right { grantable: false, .. })) => grantable.push(right.name),
                (false, None) => plain.push(right.name),
                _ => {}
            }
        }
        let grantee = grantee(item);
        self.statement(sql, item, "GRANT ", &plain, &format!("TO {grantee}"));
        self.statement(sql, item, "GRANT ", &grantable, &format!("TO {grantee} WITH GRANT OPTION"));
    }

    fn statement(&self, sql: &mut String, item: &AclItem, verb: &str, rights: &[&str], whom: &str) {
        if rights.is_empty() {
            return;
        }
        let column = self.privileges.column.as_deref();
        let column = column.map(|name| format!(" ({})", identifier(name))).unwrap_or_default();
        let rights: Vec<String> = rights.iter().map(|right| format!("{right}{column}")).collect();
        let line = format!(
            "{}{verb}{} ON {} {whom};",
            self.prefix,
            rights.join(", "),
            self.privileges.target
        );
        if !sql.is_empty() {
            sql.push('\n');
        }
        // A String takes all that is written to it.
        let _ = if self.owner.is_none_or(|owner| owner == item.grantor) {
            write!(sql, "{line}")
        } else {
            let grantor = identifier(&item.grantor);
            write!(
                sql,
                "SET SESSION AUTHORIZATION {grantor};\n{line}\nRESET SESSION AUTHORIZATION;"
            )
        };
    }
}

fn grantee(item: &AclItem) -> String {
    item.grantee.as_deref().map_or_else(|| "PUBLIC".to_owned(), identifier)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn privileges(default: &[&str], items: Option<&[&str]>) -> Privileges {
        let own = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
        Privileges {
            target: "TABLE \"s\".\"t\"".to_owned(),
            column: None,
            items: items.map(own),
            default: own(default),
        }
    }

    fn sql(default: &[&str], items: Option<&[&str]>) -> String {
        statements(&privileges(default, items), Some("o"), "", |role| role != "12345").unwrap()
    }

    #[test]
    fn every_letter_is_read() {
        let item = AclItem::parse("a=rawdDxtmXUCcTsA/b").unwrap();
        let names: Vec<&str> = item.rights.iter().map(|right| right.name).collect();
        assert_eq!(
            names,
            [
                "SELECT",
                "INSERT",
                "UPDATE",
                "DELETE",
                "TRUNCATE",
                "REFERENCES",
                "TRIGGER",
                "MAINTAIN",
                "EXECUTE",
                "USAGE",
                "CREATE",
                "CONNECT",
                "TEMPORARY",
                "SET",
                "ALTER SYSTEM"
            ]
        );
    }

    #[test]
    fn quoted_names_and_grant_options_are_read() {
        let item = AclItem::parse(r#""a=""b/c"=r*w/"d/e=""""#).unwrap();
        assert_eq!(item.grantee.as_deref(), Some("a=\"b/c"));
        assert_eq!(item.grantor, "d/e=\"");
        assert_eq!(
            item.rights,
            [Right { name: "SELECT", grantable: true }, Right { name: "UPDATE", grantable: false }]
        );
        assert_eq!(AclItem::parse("=U/o").unwrap().grantee, None);
    }

    #[test]
    fn what_is_no_aclitem_is_an_error() {
        for text in ["", "a", "a=r", "a=r/", "a=!/b", "a=*/b", "\"a=r/b", "a=r/\"b"] {
            assert!(AclItem::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn default_privileges_need_no_statement() {
        assert_eq!(sql(&["o=r/o"], None), "");
        assert_eq!(sql(&["o=r/o", "=X/o"], Some(&["=X/o", "o=r/o"])), "");
    }

    #[test]
    fn only_the_difference_is_granted_and_revoked() {
        assert_eq!(
            sql(&["o=rw/o", "=r*/o"], Some(&["o=r/o", "=r/o", "x=r*w/o"])),
            "REVOKE UPDATE ON TABLE \"s\".\"t\" FROM \"o\";\n\
             REVOKE GRANT OPTION FOR SELECT ON TABLE \"s\".\"t\" FROM PUBLIC;\n\
             GRANT UPDATE ON TABLE \"s\".\"t\" TO \"x\";\n\
             GRANT SELECT ON TABLE \"s\".\"t\" TO \"x\" WITH GRANT OPTION;"
        );
    }

    #[test]
    fn an_empty_list_revokes_everything() {
        assert_eq!(
            sql(&["o=rw/o"], Some(&[])),
            "REVOKE SELECT, UPDATE ON TABLE \"s\".\"t\" FROM \"o\";"
        );
    }

    #[test]
    fn the_owners_privileges_come_first_and_a_chain_keeps_its_order() {
        assert_eq!(
            sql(&[], Some(&["x=r*/o", "y=r/x", "o=r*/o"])),
            "GRANT SELECT ON TABLE \"s\".\"t\" TO \"o\" WITH GRANT OPTION;\n\
             GRANT SELECT ON TABLE \"s\".\"t\" TO \"x\" WITH GRANT OPTION;\n\
             SET SESSION AUTHORIZATION \"x\";\n\
             GRANT SELECT ON TABLE \"s\".\"t\" TO \"y\";\n\
             RESET SESSION AUTHORIZATION;"
        );
    }

    #[test]
    fn a_role_that_is_gone_is_left_out() {
        assert_eq!(sql(&[], Some(&["12345=r/o", "x=r/12345"])), "");
    }

    #[test]
    fn a_column_stands_after_each_privilege() {
        let mut privileges = privileges(&[], Some(&["x=rw/o"]));
        privileges.column = Some("c\"".to_owned());
        assert_eq!(
            statements(&privileges, Some("o"), "", |_| true).unwrap(),
            "GRANT SELECT (\"c\"\"\"), UPDATE (\"c\"\"\") ON TABLE \"s\".\"t\" TO \"x\";"
        );
    }

    proptest! {
        #[test]
        fn any_names_and_rights_come_back(
            grantee in "[^\0]{0,20}",
            grantor in "[^\0]{1,20}",
            rights in proptest::collection::vec((0..RIGHTS.len(), any::<bool>()), 0..15),
        ) {
            let quote = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
            let letters: String = rights
                .iter()
                .map(|(at, grantable)| {
                    format!("{}{}", RIGHTS[*at].0, if *grantable { "*" } else { "" })
                })
                .collect();
            let whom = if grantee.is_empty() { String::new() } else { quote(&grantee) };
            let item = AclItem::parse(&format!("{whom}={letters}/{}", quote(&grantor))).unwrap();
            prop_assert_eq!(item.grantee.unwrap_or_default(), grantee);
            prop_assert_eq!(item.grantor, grantor);
            let read: Vec<(&str, bool)> =
                item.rights.iter().map(|right| (right.name, right.grantable)).collect();
            let written: Vec<(&str, bool)> =
                rights.iter().map(|(at, grantable)| (RIGHTS[*at].1, *grantable)).collect();
            prop_assert_eq!(read, written);
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = AclItem::parse(&text);
        }
    }
}
