//! What a provider of managed servers keeps for itself in everybody's database: schemas, roles,
//! databases. Facts alone; what follows from them is decided where a selection is read
//! (`on_server`, `on_entries`) and where a backup is restored.
//!
//! Sources, read in November 2026:
//! - Supabase: what `supabase db dump` leaves out
//!   (<https://github.com/supabase/cli>, `internal/db/dump`), the roles that a project begins with
//!   (<https://supabase.com/docs/guides/database/postgres/roles>).
//! - RDS: <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/Appendix.PostgreSQL.CommonDBATasks.Roles.html>

/// A provider that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Supabase.
    Supabase,
    /// Amazon RDS and Aurora for PostgreSQL.
    Rds,
}

impl Provider {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Supabase, Self::Rds];

    /// The name that options have.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Provider::Supabase => "supabase",
            Provider::Rds => "rds",
        }
    }

    /// Whether a schema holds nothing of the user's: its rows are the provider's, or make sense
    /// on the one server alone.
    #[must_use]
    pub fn hides_schema(self, schema: &str) -> bool {
        match self {
            Provider::Supabase => SUPABASE_HIDDEN.contains(&schema),
            Provider::Rds => false,
        }
    }

    /// Whether a schema is the provider's and holds rows of the user's: there on every server,
    /// made and altered by the provider alone.
    #[must_use]
    pub fn shares_schema(self, schema: &str) -> bool {
        match self {
            Provider::Supabase => SUPABASE_SHARED.contains(&schema),
            Provider::Rds => false,
        }
    }

    /// Whether the rows of a table in a shared schema are the provider's.
    #[must_use]
    pub fn owns_rows(self, schema: &str, table: &str) -> bool {
        match self {
            Provider::Supabase => SUPABASE_OWN_TABLES.contains(&(schema, table)),
            Provider::Rds => false,
        }
    }

    /// Whether a role is the provider's: on every server, and not to be made or altered.
    #[must_use]
    pub fn owns_role(self, role: &str) -> bool {
        match self {
            Provider::Supabase => role.starts_with("supabase_") || SUPABASE_ROLES.contains(&role),
            Provider::Rds => {
                role == "rdsadmin" || role.starts_with("rds_") || RDS_ROLES.contains(&role)
            }
        }
    }

    /// Whether a database is the provider's: it lets nobody else in.
    #[must_use]
    pub fn owns_database(self, database: &str) -> bool {
        self == Provider::Rds && database == "rdsadmin"
    }
}

const SUPABASE_HIDDEN: &[&str] = &[
    "_analytics",
    "_realtime",
    "_supavisor",
    "graphql",
    "graphql_public",
    "net",
    "pgbouncer",
    "pgsodium",
    "pgsodium_masks",
    "realtime",
    "supabase_functions",
    // Its secrets are sealed with a key of the one server.
    "vault",
];

const SUPABASE_SHARED: &[&str] = &["auth", "extensions", "storage"];

/// How far the provider's own migrations are.
const SUPABASE_OWN_TABLES: &[(&str, &str)] =
    &[("auth", "schema_migrations"), ("storage", "migrations")];

const SUPABASE_ROLES: &[&str] = &[
    "anon",
    "authenticated",
    "authenticator",
    "cli_login_postgres",
    "dashboard_user",
    "pgbouncer",
    "pgsodium_keyholder",
    "pgsodium_keyiduser",
    "pgsodium_keymaker",
    "pgtle_admin",
    "service_role",
];

const RDS_ROLES: &[&str] = &["rdsproxyadmin", "rdsrepladmin", "rdstopmgr", "rdswriteforwarduser"];
