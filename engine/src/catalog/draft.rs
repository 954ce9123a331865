//! An entry in the making: still named by its catalog address, not yet ordered.

use pgkeep_format::entry::{Kind, Relation, Section};

/// Names an object in the server's catalogs as `pg_depend` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The catalog, by its name: `pg_class`, `pg_proc`, …
    pub catalog: &'static str,
    /// The object's OID in it.
    pub oid: u32,
    /// The column, 0 for the object as a whole.
    pub column: i32,
}

impl Address {
    /// Addresses a whole object.
    #[must_use]
    pub fn new(catalog: &'static str, oid: u32) -> Self {
        Self { catalog, oid, column: 0 }
    }
}

/// An object's privileges as the catalogs hold them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Privileges {
    /// What GRANT calls the object: `TABLE "s"."t"`, `FUNCTION "s"."f"(integer)`.
    pub target: String,
    /// A column's name where the privileges are of one column.
    pub column: Option<String>,
    /// `aclitem`s as text; absent where the catalog holds NULL (the default).
    pub items: Option<Vec<String>>,
    /// What `acldefault` gives for this kind of object and owner; for a member of an
    /// extension, what `pg_init_privs` holds.
    pub default: Vec<String>,
}

/// One object on its way to becoming an [`Entry`](pgkeep_format::entry::Entry).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Its address; no two drafts share one, satellites have none.
    pub address: Option<Address>,
    /// Further addresses that this draft stands for: a table's row type, a constraint's
    /// index, a type's array type. What depends on them depends on this draft.
    pub stands_for: Vec<Address>,
    /// What it is.
    pub kind: Kind,
    /// When it is restored.
    pub section: Section,
    /// Its schema, unquoted.
    pub schema: Option<String>,
    /// Its name, unquoted; for functions with argument types, as in `f(integer, text)`.
    pub name: String,
    /// What `ALTER … OWNER TO`, `COMMENT ON` and `DROP` call it: `TABLE "s"."t"`.
    /// Absent where it can have neither owner nor comment.
    pub target: Option<String>,
    /// The owner's role name, where it has an owner that can be set.
    pub owner: Option<String>,
    /// Its privileges and those of its columns.
    pub privileges: Vec<Privileges>,
    /// SQL that creates it; complete statements each ended by `;`.
    pub create: String,
    /// SQL that drops it; see [`Entry::drop`](pgkeep_format::entry::Entry::drop).
    pub drop: Option<String>,
    /// The object that it is a part of; see [`Entry::belongs_to`](pgkeep_format::entry::Entry::belongs_to).
    pub belongs_to: Option<Address>,
    /// What must be there first, beyond what `pg_depend` says.
    pub depends_on: Vec<Address>,
    /// The relation's shape.
    pub relation: Option<Relation>,
}
