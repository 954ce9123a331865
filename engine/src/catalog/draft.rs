//! An entry in the making: still named by its catalog address, not yet ordered.

use pgkeep_format::entry::{ByIndex, Kind, Relation, Section, Storage};
use std::hash::{Hash, Hasher};

/// Names an object in the server's catalogs as `pg_depend` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The object's OID in its catalog. First, as it nearly always tells two addresses apart.
    pub oid: u32,
    /// The column, 0 for the object as a whole.
    pub column: i32,
    /// The catalog, by its name: `pg_class`, `pg_proc`, …
    pub catalog: &'static str,
}

impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // OIDs of two catalogs are seldom the same, and a name takes most of the time.
        self.oid.hash(state);
    }
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
    /// What `COMMENT ON` calls objects that have no draft of their own but lie in this
    /// one: a named NOT NULL constraint, the index of a constraint.
    pub inner_targets: Vec<(Address, String)>,
    /// The owner's role name, where it has an owner that can be set.
    pub owner: Option<String>,
    /// Its privileges and those of its columns.
    pub privileges: Vec<Privileges>,
    /// SQL that creates it, and where it can be split.
    pub body: Body,
    /// SQL that drops it; see [`Entry::drop`](pgkeep_format::entry::Entry::drop).
    pub drop: Option<String>,
    /// The object that it is a part of; see [`Entry::belongs_to`](pgkeep_format::entry::Entry::belongs_to).
    pub belongs_to: Option<Address>,
    /// What must be there first, beyond what `pg_depend` says.
    pub depends_on: Vec<Address>,
    /// The relation's shape.
    pub relation: Option<Box<Relation>>,
    /// Where its rows come from; only for the kinds that have rows.
    pub rows: Option<Box<Rows>>,
    /// Where and how the server keeps it.
    pub storage: Storage,
    /// How a constraint is made of an index that is there.
    pub by_index: Option<Box<ByIndex>>,
    /// The tables that it inherits from or is a partition of.
    pub parents: Vec<Address>,
}

impl Draft {
    /// Makes a draft of which all that is optional is absent.
    #[must_use]
    pub fn new(kind: Kind, section: Section, schema: Option<&str>, name: &str) -> Self {
        Self {
            address: None,
            stands_for: Vec::new(),
            kind,
            section,
            schema: schema.map(str::to_owned),
            name: name.to_owned(),
            target: None,
            inner_targets: Vec::new(),
            owner: None,
            privileges: Vec::new(),
            body: Body::default(),
            drop: None,
            belongs_to: None,
            depends_on: Vec::new(),
            relation: None,
            rows: None,
            storage: Storage::default(),
            by_index: None,
            parents: Vec::new(),
        }
    }

    /// What `COMMENT ON` calls this draft and all that lies in it.
    pub fn targets(&self) -> impl Iterator<Item = (Address, &str)> {
        let own = self.address.zip(self.target.as_deref());
        let inner = self.inner_targets.iter().map(|(address, target)| (*address, target.as_str()));
        own.into_iter().chain(inner).chain(
            self.body
                .parts()
                .filter_map(|part| part.alone.address.zip(part.alone.target.as_deref())),
        )
    }
}

/// SQL that creates an object: complete statements each ended by `;`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// SQL that cannot be split.
    Whole(String),
    /// A table or domain: elements of which some can be made apart, after it.
    Elements {
        /// What comes before the elements.
        before: String,
        /// How elements are put together.
        layout: Layout,
        /// Columns and constraints; those without text are left out.
        elements: Vec<Element>,
        /// What comes after the elements.
        after: String,
    },
    /// A view: can be made first as a view of the same columns that says nothing.
    View {
        /// SQL of the view itself.
        create: String,
        /// SQL of the view that says nothing.
        dummy: String,
        /// What makes it the true view later.
        rule: Box<Draft>,
    },
}

/// How [`Body::Elements`] are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// What stands before the first element.
    pub open: &'static str,
    /// What stands between two elements.
    pub separator: &'static str,
    /// What stands after the last element.
    pub close: &'static str,
    /// What stands there when there is no element.
    pub empty: &'static str,
}

impl Layout {
    /// A table: its list may be empty but must be there.
    pub const TABLE: Layout =
        Layout { open: " (\n    ", separator: ",\n    ", close: "\n)", empty: " (\n)" };
    /// A table of a type: its list must not be empty.
    pub const TYPED_TABLE: Layout = Layout { empty: "", ..Layout::TABLE };
    /// A domain: elements follow one another.
    pub const DOMAIN: Layout = Layout { open: "\n    ", separator: "\n    ", close: "", empty: "" };
}

/// A column or constraint within [`Body::Elements`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// What is never apart.
    pub text: String,
    /// What can be.
    pub part: Option<Box<Part>>,
}

/// A default or a constraint that can be made with its table or domain, or alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The text within the whole, following the element's own.
    pub text: String,
    /// The draft that makes it alone; its address is also what `pg_depend` knows.
    pub alone: Draft,
    /// Whether it is always made alone.
    pub apart: bool,
}

impl Body {
    /// What can be made alone.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        let elements = match self {
            Body::Elements { elements, .. } => elements.as_slice(),
            _ => &[],
        };
        elements.iter().filter_map(|element| element.part.as_deref())
    }
}

impl Default for Body {
    fn default() -> Self {
        Body::Whole(String::new())
    }
}

impl From<String> for Body {
    fn from(create: String) -> Self {
        Body::Whole(create)
    }
}

/// Where rows come from, and how many to expect.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rows {
    /// OID of the table; 0 where there is only a query.
    pub oid: u32,
    /// Names of the columns to copy, generated ones left out; may be empty.
    pub columns: Vec<String>,
    /// `attnum` of each; empty where there is only a query.
    pub numbers: Vec<i16>,
    /// Of each column the OID of the type whose binary form its values have; absent where rows are
    /// to be read as text.
    pub types: Option<Vec<u32>>,
    /// The query to copy instead of a table: its columns are `columns`.
    pub query: Option<String>,
    /// SQL condition that rows must meet, without `WHERE`.
    pub filter: Option<String>,
    /// Blocks of the table's main fork, 8 KiB each by default.
    pub pages: u64,
    /// Blocks of its TOAST table.
    pub toast_pages: u64,
    /// Whether it is a heap, which alone can be read in ranges of blocks.
    pub is_heap: bool,
}
