//! One catalog object of a backup: what it is called, the SQL that makes and drops it,
//! and what it stands on.
//!
//! A backup's entries are one stream (see [`crate::stream`]) of CBOR maps, in the order in
//! which they can be created. An entry refers to others by their position in that order.

use crate::{FormatError, tuple};
use minicbor::{Decode, Encode};
use std::fmt;

/// What kind of object an entry is; written as the text that `pg_restore -l` shows for it.
///
/// Kinds that this version does not know are kept as [`EntryKind::Other`]: their SQL
/// restores all the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKind {
    /// A kind named by its text only.
    Other(String),
    /// A kind that this version knows.
    Known(Kind),
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)+) => {
        /// The kinds that this version knows.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[$doc])* $name,)+
        }

        impl Kind {
            /// Every kind, in the order of declaration.
            pub const ALL: &[Kind] = &[$(Kind::$name),+];

            /// The text that stands for the kind in a backup.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Kind::$name => $text),+ }
            }
        }
    };
}

kinds! {
    /// The database itself, with its properties.
    Database = "DATABASE",
    /// Settings of the database (`ALTER DATABASE … SET`).
    DatabaseProperties = "DATABASE PROPERTIES",
    /// A schema.
    Schema = "SCHEMA",
    /// An extension.
    Extension = "EXTENSION",
    /// A procedural language.
    Language = "PROCEDURAL LANGUAGE",
    /// A collation.
    Collation = "COLLATION",
    /// A type made without its definition, so that functions can name it.
    ShellType = "SHELL TYPE",
    /// A base, composite, enum or range type.
    Type = "TYPE",
    /// A domain.
    Domain = "DOMAIN",
    /// A cast.
    Cast = "CAST",
    /// A transform.
    Transform = "TRANSFORM",
    /// A function.
    Function = "FUNCTION",
    /// A procedure.
    Procedure = "PROCEDURE",
    /// An aggregate.
    Aggregate = "AGGREGATE",
    /// An access method.
    AccessMethod = "ACCESS METHOD",
    /// An operator.
    Operator = "OPERATOR",
    /// An operator family.
    OperatorFamily = "OPERATOR FAMILY",
    /// An operator class.
    OperatorClass = "OPERATOR CLASS",
    /// A conversion between encodings.
    Conversion = "CONVERSION",
    /// A text search parser.
    TextSearchParser = "TEXT SEARCH PARSER",
    /// A text search template.
    TextSearchTemplate = "TEXT SEARCH TEMPLATE",
    /// A text search dictionary.
    TextSearchDictionary = "TEXT SEARCH DICTIONARY",
    /// A text search configuration.
    TextSearchConfiguration = "TEXT SEARCH CONFIGURATION",
    /// A foreign data wrapper.
    ForeignDataWrapper = "FOREIGN DATA WRAPPER",
    /// A foreign server.
    Server = "SERVER",
    /// A user mapping.
    UserMapping = "USER MAPPING",
    /// A sequence.
    Sequence = "SEQUENCE",
    /// A table, plain or partitioned.
    Table = "TABLE",
    /// A foreign table.
    ForeignTable = "FOREIGN TABLE",
    /// A view.
    View = "VIEW",
    /// A materialized view.
    MaterializedView = "MATERIALIZED VIEW",
    /// A partition's attachment to its parent.
    TableAttach = "TABLE ATTACH",
    /// The column that a sequence belongs to.
    SequenceOwnedBy = "SEQUENCE OWNED BY",
    /// A column's default, where it could not be part of the table.
    Default = "DEFAULT",
    /// A check constraint, where it could not be part of the table or domain.
    CheckConstraint = "CHECK CONSTRAINT",
    /// The rows of a table.
    TableData = "TABLE DATA",
    /// A sequence's value.
    SequenceSet = "SEQUENCE SET",
    /// A large object: that it exists.
    LargeObject = "BLOB METADATA",
    /// The contents of large objects.
    LargeObjectData = "BLOBS",
    /// An index.
    Index = "INDEX",
    /// A partition index's attachment to its parent.
    IndexAttach = "INDEX ATTACH",
    /// A primary key, unique or exclusion constraint.
    Constraint = "CONSTRAINT",
    /// A foreign key.
    ForeignKey = "FK CONSTRAINT",
    /// Extended statistics.
    Statistics = "STATISTICS",
    /// A rewrite rule.
    Rule = "RULE",
    /// A trigger.
    Trigger = "TRIGGER",
    /// A row-level security policy.
    Policy = "POLICY",
    /// That a table has row-level security.
    RowSecurity = "ROW SECURITY",
    /// A publication.
    Publication = "PUBLICATION",
    /// A table in a publication.
    PublicationTable = "PUBLICATION TABLE",
    /// A schema in a publication.
    PublicationSchema = "PUBLICATION TABLES IN SCHEMA",
    /// A subscription.
    Subscription = "SUBSCRIPTION",
    /// Default privileges.
    DefaultAcl = "DEFAULT ACL",
    /// An event trigger.
    EventTrigger = "EVENT TRIGGER",
    /// The contents of a materialized view, made by refreshing it.
    MaterializedViewData = "MATERIALIZED VIEW DATA",
    /// Optimizer statistics of a relation.
    StatisticsData = "STATISTICS DATA",
    /// A role: that it exists.
    Role = "ROLE",
    /// Attributes of a role.
    RoleAttributes = "ROLE ATTRIBUTES",
    /// That a role is a member of another.
    RoleMembership = "ROLE MEMBERSHIP",
    /// A setting of a role in all databases.
    RoleSetting = "ROLE SETTING",
    /// A tablespace.
    Tablespace = "TABLESPACE",
    /// Options of a tablespace.
    TablespaceOptions = "TABLESPACE OPTIONS",
    /// An object's owner.
    Owner = "OWNER",
    /// An object's privileges.
    Acl = "ACL",
    /// A comment.
    Comment = "COMMENT",
    /// A security label.
    SecurityLabel = "SECURITY LABEL",
}

impl Kind {
    /// Whether an entry of this kind only says something about another one, its
    /// [`Entry::belongs_to`], and has no name of its own.
    #[must_use]
    pub const fn is_satellite(self) -> bool {
        matches!(self, Kind::Owner | Kind::Acl | Kind::Comment | Kind::SecurityLabel)
    }
}

impl EntryKind {
    /// The text that stands for the kind in a backup.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            EntryKind::Known(kind) => kind.as_str(),
            EntryKind::Other(text) => text,
        }
    }
}

impl From<Kind> for EntryKind {
    fn from(kind: Kind) -> Self {
        EntryKind::Known(kind)
    }
}

impl PartialEq<Kind> for EntryKind {
    fn eq(&self, other: &Kind) -> bool {
        matches!(self, EntryKind::Known(kind) if kind == other)
    }
}

impl fmt::Display for EntryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<C> Encode<C> for EntryKind {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.str(self.as_str())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for EntryKind {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let text = d.str()?;
        let known = Kind::ALL.iter().find(|kind| kind.as_str() == text);
        Ok(known.map_or_else(|| EntryKind::Other(text.to_owned()), |kind| (*kind).into()))
    }
}

/// When an entry is restored: before the rows, with them, or after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Section {
    /// Definitions that rows need.
    #[n(0)]
    PreData,
    /// Rows, sequence values, large objects.
    #[n(1)]
    Data,
    /// Indexes, constraints, triggers and all that is quicker or safer after the rows.
    #[n(2)]
    PostData,
}

/// One catalog object. What few of them have is boxed: a backup may have hundreds of thousands.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Entry {
    /// What it is.
    #[n(1)]
    pub kind: EntryKind,
    /// When it is restored.
    #[n(2)]
    pub section: Section,
    /// Its schema, where its kind has one; unquoted.
    #[n(3)]
    pub schema: Option<String>,
    /// Its name, unquoted; with argument types where the kind is identified by them.
    #[n(4)]
    pub name: String,
    /// SQL that creates it, complete statements each ended by `;`, names fully qualified.
    /// Empty for [`Kind::TableData`] and [`Kind::LargeObjectData`].
    #[n(5)]
    pub create: String,
    /// SQL that drops it, with no `IF EXISTS`, and with `CASCADE` only for a type that goes
    /// together with the functions that read and write it; absent where dropping something
    /// else, such as what it [belongs to](Entry::belongs_to), drops it too.
    #[n(6)]
    pub drop: Option<String>,
    /// Positions of the entries that must be there first, ascending, each smaller than
    /// this entry's own.
    #[n(7)]
    pub depends_on: Vec<u32>,
    /// Position of the entry that this one is a part of or speaks about: a trigger's
    /// table, a comment's object. Selecting that entry selects this one.
    #[n(8)]
    pub belongs_to: Option<u32>,
    /// The relation's columns as data; only for relations.
    #[n(9)]
    pub relation: Option<Box<Relation>>,
    /// The rows; only for [`Kind::TableData`] and [`Kind::LargeObjectData`].
    #[n(10)]
    pub data: Option<Box<Data>>,
    /// The role that owns it, unquoted, where it has an owner that can be set. A
    /// [`Kind::Owner`] entry holds the SQL that sets it.
    #[n(11)]
    pub owner: Option<String>,
    /// OIDs of the large objects that it stands for, ascending; only for
    /// [`Kind::LargeObject`].
    #[n(12)]
    pub large_objects: Option<Vec<u32>>,
    /// Where and how the server keeps it, where that is not the default: the SQL of
    /// [`Entry::create`] says nothing of it, so that a restore can leave it out.
    #[n(13)]
    pub storage: Option<Box<Storage>>,
    /// How a primary key or unique constraint is made in two steps, with the same outcome as
    /// [`Entry::create`]; only for [`Kind::Constraint`].
    #[n(14)]
    pub by_index: Option<Box<ByIndex>>,
}

/// A primary key or unique constraint made of an index that is there: it can be built while other
/// indexes of the table are, which the constraint as a whole cannot.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ByIndex {
    /// SQL that builds the unique index, one statement ended by `;`. Like the SQL of an index it
    /// says nothing of [`Entry::storage`].
    #[n(1)]
    pub index: String,
    /// SQL that makes the index the constraint, and what else [`Entry::create`] has; complete
    /// statements each ended by `;`.
    #[n(2)]
    pub constraint: String,
}

/// Where and how the server keeps a relation or index.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Storage {
    /// Its tablespace, unquoted; absent for the database's own.
    #[n(1)]
    pub tablespace: Option<String>,
    /// The access method of a table or materialized view, unquoted; absent for `heap`, and
    /// for a partitioned table that names none.
    #[n(2)]
    pub access_method: Option<String>,
}

/// A relation's shape, as data.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Relation {
    /// Columns in order, dropped ones left out.
    #[n(1)]
    pub columns: Vec<Column>,
    /// `pg_class.relreplident`: `d`, `n`, `f` or `i`; empty where it means nothing.
    #[n(2)]
    pub replica_identity: String,
    /// Names of the columns of the primary key, in its order; empty without one.
    #[n(3)]
    pub primary_key: Vec<String>,
    /// Whether its rows are not in the WAL (`UNLOGGED`).
    #[n(4)]
    pub unlogged: bool,
    /// Whether it is partitioned and so has no rows itself.
    #[n(5)]
    pub partitioned: bool,
    /// Positions of the entries of the tables that it inherits from or is a partition of, as
    /// far as the backup has them; a parent may come before or after.
    #[n(6)]
    pub parents: Vec<u32>,
}

/// A column, as data.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Column {
    /// Its name, unquoted.
    #[n(1)]
    pub name: String,
    /// Its type as SQL, qualified, with modifiers.
    #[n(2)]
    pub type_name: String,
    /// Whether it is `NOT NULL`.
    #[n(3)]
    pub not_null: bool,
    /// `pg_attribute.attgenerated`: empty, `s` (stored) or `v` (virtual).
    #[n(4)]
    pub generated: String,
    /// `pg_attribute.attidentity`: empty, `a` (always) or `d` (by default).
    #[n(5)]
    pub identity: String,
}

/// Where an entry's rows are and how they are written.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Data {
    /// Position of the rows' stream in the manifest.
    #[n(1)]
    pub stream: u32,
    /// How a row is written.
    #[n(2)]
    pub encoding: RowEncoding,
    /// Names of the columns of a row, in its order; unquoted. May be empty: a table
    /// without columns has rows all the same.
    #[n(3)]
    pub columns: Vec<String>,
    /// Number of rows.
    #[n(4)]
    pub rows: u64,
    /// Bytes of all rows, plain.
    #[n(5)]
    pub bytes: u64,
    /// OID of the table in the database that was backed up: what a change stream calls it.
    /// Absent where the rows are not those of a table.
    #[n(6)]
    pub table: Option<u32>,
    /// `pg_attribute.attnum` of each of `columns`, which a column keeps when it is renamed;
    /// absent where the rows are not those of a table.
    #[n(7)]
    pub numbers: Option<Vec<i16>>,
    /// Of binary rows: for each of `columns` the OID of the built-in type whose binary form its
    /// values have. A domain's is its base type's, an enum's that of text: its values are labels.
    #[n(8)]
    pub types: Option<Vec<u32>>,
}

impl Data {
    /// The types of the columns of binary rows.
    ///
    /// # Errors
    /// [`FormatError::Invalid`] when they are not said of each column, or one is not known.
    pub fn binary_types(&self) -> Result<&[u32], FormatError> {
        let invalid = |reason: String| FormatError::invalid("types of binary rows", reason);
        let types = self.types.as_deref().filter(|types| types.len() == self.columns.len());
        let types = types.ok_or_else(|| invalid("they are not said of each column".to_owned()))?;
        match types.iter().find(|oid| !tuple::is_type(**oid)) {
            Some(oid) => Err(invalid(format!("{oid} is not known"))),
            None => Ok(types),
        }
    }
}

/// How a row of a stream is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum RowEncoding {
    /// `COPY … (FORMAT text)`: a line, ended by a newline byte.
    #[n(1)]
    CopyText,
    /// `COPY … (FORMAT binary)`: the field count and fields, without file header or trailer.
    #[n(2)]
    CopyBinary,
    /// One CBOR item.
    #[n(3)]
    Cbor,
}
