//! Who is a member of which role, with options and, since 16, who granted it.
//!
//! A grantor must hold ADMIN OPTION when he grants, so grants come after those that their
//! grantors need. Older servers note a grantor without minding him, so theirs are not told.

use super::Globals;
use crate::Result;
use crate::postgres::{Session, identifier};
use pgkeep_format::entry::Kind;
use std::collections::HashSet;

/// `pg_authid.oid` of the role that `initdb` made, who may grant everything.
const BOOTSTRAP: u32 = 10;

/// The first version that keeps grantors and the options INHERIT and SET.
const HAS_OPTIONS: u32 = 16;

struct Grant {
    role: String,
    member: String,
    /// Absent where whoever restores will do.
    grantor: Option<String>,
    admin: bool,
    options: Vec<&'static str>,
    /// Whether it is what CREATE ROLE gives its user who is no superuser
    /// (<https://www.postgresql.org/docs/16/role-attributes.html>).
    is_implicit: bool,
}

impl Grant {
    fn sql(&self, named: bool) -> String {
        let mut sql = format!("GRANT {} TO {}", identifier(&self.role), identifier(&self.member));
        if !self.options.is_empty() {
            sql += &format!(" WITH {}", self.options.join(", "));
        }
        if let Some(grantor) = self.grantor.as_ref().filter(|_| named) {
            sql += &format!(" GRANTED BY {}", identifier(grantor));
        }
        sql + ";"
    }
}

/// All memberships; the roles are among `globals` already.
pub(super) async fn read(
    session: &Session,
    without_implicit: bool,
    globals: &mut Globals,
) -> Result<()> {
    let mut left = grants(session, globals).await?;
    // Who holds ADMIN OPTION on what so far.
    let mut admins: HashSet<(String, String)> = HashSet::new();
    if without_implicit {
        for grant in left.extract_if(.., |grant| grant.is_implicit) {
            admins.insert((grant.role, grant.member));
        }
    }
    while !left.is_empty() {
        let may = |grant: &Grant| {
            grant
                .grantor
                .as_ref()
                .is_none_or(|grantor| admins.contains(&(grant.role.clone(), grantor.clone())))
        };
        let (now, later): (Vec<Grant>, Vec<Grant>) = left.into_iter().partition(may);
        let named = !now.is_empty();
        // Grants that hang on each other in a circle: no order gives them their grantors.
        let (now, later) = if named { (now, later) } else { (later, Vec::new()) };
        for grant in now {
            if !named {
                globals.warnings.push(format!(
                    "grant of role \"{}\" to \"{}\" is in the backup without its grantor: \
                     he holds the role by a grant that hangs on this one",
                    grant.role, grant.member
                ));
            }
            let name = format!("{} TO {}", grant.role, grant.member);
            globals.add(Kind::RoleMembership, &name, grant.sql(named), None);
            if grant.admin {
                admins.insert((grant.role, grant.member));
            }
        }
        left = later;
    }
    Ok(())
}

async fn grants(session: &Session, globals: &mut Globals) -> Result<Vec<Grant>> {
    let has_options = session.major() >= HAS_OPTIONS;
    let options = match has_options {
        true => "a.inherit_option <> m.rolinherit AS other_inherit, a.inherit_option, a.set_option",
        false => "false AS other_inherit, true AS inherit_option, true AS set_option",
    };
    let rows = session
        .query(&format!(
            "SELECT r.rolname AS role, m.rolname AS member, g.rolname AS grantor, \
                    a.roleid, a.member AS member_oid, a.grantor AS grantor_oid, \
                    a.admin_option, {options} \
             FROM pg_catalog.pg_auth_members a \
             LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.roleid \
             LEFT JOIN pg_catalog.pg_roles m ON m.oid = a.member \
             LEFT JOIN pg_catalog.pg_roles g ON g.oid = a.grantor \
             ORDER BY r.rolname COLLATE \"C\", m.rolname COLLATE \"C\", g.rolname COLLATE \"C\""
        ))
        .await?;
    let mut grants = Vec::new();
    for row in &rows {
        let (Some(role), Some(member)) = (row.optional("role")?, row.optional("member")?) else {
            globals.warnings.push(format!(
                "a grant of role {} to {} is not in the backup: there is no such role",
                row.text("roleid")?,
                row.text("member_oid")?
            ));
            continue;
        };
        // What the server gives pg_ roles among themselves is not the user's.
        if member.starts_with("pg_") {
            continue;
        }
        let bootstrap = row.parse::<u32>("grantor_oid")? == BOOTSTRAP;
        let grantor = row.optional("grantor")?.filter(|_| has_options && !bootstrap);
        let admin = row.bool("admin_option")?;
        let (inherits, sets) = (row.bool("inherit_option")?, row.bool("set_option")?);
        let mut options = Vec::new();
        options.extend(admin.then_some("ADMIN OPTION"));
        if row.bool("other_inherit")? {
            options.push(if inherits { "INHERIT TRUE" } else { "INHERIT FALSE" });
        }
        if !sets {
            options.push("SET FALSE");
        }
        grants.push(Grant {
            role: role.to_owned(),
            member: member.to_owned(),
            grantor: grantor.map(str::to_owned),
            admin,
            options,
            is_implicit: has_options && bootstrap && admin && !inherits && !sets,
        });
    }
    Ok(grants)
}
