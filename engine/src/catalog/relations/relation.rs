//! Facts of every table, foreign table, view, materialized view and sequence, read once for all the
//! readers that make drafts of them and of what belongs to them.

use crate::Result;
use crate::catalog::array;
use crate::catalog::context::Context;
use crate::catalog::objects::foreign_data;
use crate::catalog::objects::schemas::USER_SCHEMA;
use crate::catalog::relations::column::{self, ColumnFacts};
use crate::catalog::source::Owner;
use crate::catalog::{Address, Draft, Privileges};
use crate::postgres::{Row, qualified};
use pgkeep_format::entry::{Column, Kind, Relation, Section, Storage};
use std::collections::HashMap;

/// What kind of relation it is: `pg_class.relkind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::catalog) enum Relkind {
    Table,
    Partitioned,
    View,
    MaterializedView,
    Sequence,
    Foreign,
}

/// One relation.
#[derive(Debug, Clone)]
pub(in crate::catalog) struct RelationFacts {
    pub(in crate::catalog) oid: u32,
    pub(in crate::catalog) schema: String,
    pub(in crate::catalog) name: String,
    pub(in crate::catalog) relkind: Relkind,
    pub(in crate::catalog) unlogged: bool,
    pub(in crate::catalog) owner: String,
    acl: Option<Vec<String>>,
    acl_default: Vec<String>,
    /// Absent for those that have none, or the default one of their partitioned table.
    pub(in crate::catalog) access_method: Option<String>,
    /// Absent for the database's own.
    pub(in crate::catalog) tablespace: Option<String>,
    /// `name='value', …`, TOAST's with their prefix.
    pub(in crate::catalog) options: Option<String>,
    /// `WITH … CHECK OPTION` of a view: `local` or `cascaded`.
    pub(in crate::catalog) check_option: Option<String>,
    pub(in crate::catalog) row_security: bool,
    pub(in crate::catalog) force_row_security: bool,
    /// `pg_class.relreplident`.
    pub(in crate::catalog) replica_identity: String,
    pub(in crate::catalog) populated: bool,
    pub(in crate::catalog) is_partition: bool,
    pub(in crate::catalog) partition_bound: Option<String>,
    pub(in crate::catalog) partition_key: Option<String>,
    /// Where the rows of a foreign table are.
    pub(in crate::catalog) foreign: Option<ForeignFacts>,
    /// The type that a typed table is of.
    pub(in crate::catalog) of_type: Option<String>,
    pub(in crate::catalog) pages: u64,
    pub(in crate::catalog) toast_pages: u64,
    /// Parents in order, by OID.
    pub(in crate::catalog) parents: Vec<u32>,
    /// Columns that are not dropped, in order.
    pub(in crate::catalog) columns: Vec<ColumnFacts>,
    /// The extension that it is a member of.
    pub(in crate::catalog) extension: Option<u32>,
}

/// Where the rows of a foreign table are.
#[derive(Debug, Clone)]
pub(in crate::catalog) struct ForeignFacts {
    pub(in crate::catalog) server: String,
    /// `"name" 'value', …`.
    pub(in crate::catalog) options: Option<String>,
}

/// All relations, in order of schema and name.
pub(in crate::catalog) struct Relations {
    list: Vec<RelationFacts>,
    positions: HashMap<u32, usize>,
}

impl Relations {
    /// The relation of an OID, members of extensions left out.
    pub(in crate::catalog) fn get(&self, oid: u32) -> Option<&RelationFacts> {
        self.with_members(oid).filter(|relation| relation.extension.is_none())
    }

    /// The relation of an OID.
    pub(in crate::catalog) fn with_members(&self, oid: u32) -> Option<&RelationFacts> {
        self.positions.get(&oid).map(|position| &self.list[*position])
    }

    /// All relations of some kinds, members of extensions left out.
    pub(in crate::catalog) fn of(
        &self,
        relkinds: &'static [Relkind],
    ) -> impl Iterator<Item = &RelationFacts> {
        self.list
            .iter()
            .filter(|relation| relation.extension.is_none() && relkinds.contains(&relation.relkind))
    }
}

impl RelationFacts {
    /// Its address.
    pub(in crate::catalog) fn address(&self) -> Address {
        Address::new("pg_class", self.oid)
    }

    /// `"schema"."name"`.
    pub(in crate::catalog) fn qualified(&self) -> String {
        qualified(&self.schema, &self.name)
    }

    /// A draft of something that belongs to it and is named in its schema.
    pub(in crate::catalog) fn part(&self, kind: Kind, section: Section, name: &str) -> Draft {
        let mut draft = Draft::new(kind, section, Some(&self.schema), name);
        draft.belongs_to = Some(self.address());
        draft
    }

    /// The column of a number.
    pub(in crate::catalog) fn column(&self, number: i16) -> Option<&ColumnFacts> {
        self.columns.iter().find(|column| column.number == number)
    }

    /// Its privileges and those of its columns; `grant` is what GRANT calls it.
    pub(in crate::catalog) fn privileges(&self, grant: &str) -> Vec<Privileges> {
        let own = Privileges {
            target: grant.to_owned(),
            column: None,
            items: self.acl.clone(),
            default: self.acl_default.clone(),
        };
        let columns =
            self.columns.iter().filter(|column| column.acl.is_some()).map(|column| Privileges {
                target: grant.to_owned(),
                column: Some(column.name.clone()),
                items: column.acl.clone(),
                default: Vec::new(),
            });
        std::iter::once(own).chain(columns).collect()
    }

    /// ` WITH (…)`, or nothing.
    pub(in crate::catalog) fn with_options(&self) -> String {
        self.options.as_ref().map_or_else(String::new, |options| format!("\nWITH ({options})"))
    }

    /// Where and how the server keeps it.
    pub(in crate::catalog) fn storage(&self) -> Storage {
        // A partitioned table that names an access method hands it on, also the default one.
        let is_default = |name: &String| name == "heap" && self.relkind != Relkind::Partitioned;
        Storage {
            tablespace: self.tablespace.clone(),
            access_method: self.access_method.clone().filter(|name| !is_default(name)),
        }
    }

    /// Its shape as data, without the primary key.
    pub(in crate::catalog) fn shape(&self) -> Relation {
        let columns = self.columns.iter().map(|column| Column {
            name: column.name.clone(),
            type_name: column.type_name.clone(),
            not_null: column.not_null,
            generated: column.generated.clone(),
            identity: column.identity.clone(),
        });
        let replicated = matches!(self.relkind, Relkind::Table | Relkind::Partitioned);
        Relation {
            columns: columns.collect(),
            replica_identity: if replicated {
                self.replica_identity.clone()
            } else {
                String::new()
            },
            primary_key: Vec::new(),
            unlogged: self.unlogged,
            partitioned: self.relkind == Relkind::Partitioned,
            parents: Vec::new(),
        }
    }
}

impl Relations {
    /// Leaves it to the target how columns are compressed.
    pub(in crate::catalog) fn forget_compression(&mut self) {
        for column in self.list.iter_mut().flat_map(|relation| &mut relation.columns) {
            column.compression = None;
        }
    }
}

/// Reads all relations with their columns and parents.
pub(in crate::catalog) async fn read(context: &Context<'_>) -> Result<Relations> {
    let rows = context.ask(Owner::object("pg_class", "oid"), &query()).await?;
    let mut list = rows.iter().map(|row| facts(context, row)).collect::<Result<Vec<_>>>()?;
    // By bytes, whatever the server's collation.
    list.sort_by(|a, b| (&a.schema, &a.name).cmp(&(&b.schema, &b.name)));
    let positions: HashMap<u32, usize> =
        list.iter().enumerate().map(|(position, relation)| (relation.oid, position)).collect();
    let mut relations = Relations { list, positions };
    for (oid, column) in column::read(context).await? {
        if let Some(position) = relations.positions.get(&oid) {
            relations.list[*position].columns.push(column);
        }
    }
    read_parents(context, &mut relations).await?;
    if context.source.is_server() {
        read_sizes(context, &mut relations).await?;
    }
    Ok(relations)
}

fn query() -> String {
    // Options are quoted one by one: a value may hold a comma. Most relations have none,
    // and CASE saves looking.
    let options = |array: &str, prefix: &str, condition: &str| {
        format!(
            "CASE WHEN {array} IS NOT NULL THEN \
             (SELECT pg_catalog.string_agg('{prefix}' || pg_catalog.quote_ident(o.option_name) \
                || '=' || pg_catalog.quote_literal(o.option_value), ', ' ORDER BY n) \
              FROM pg_catalog.unnest({array}) WITH ORDINALITY AS u(option, n), \
                   pg_catalog.pg_options_to_table(ARRAY[u.option]) AS o {condition}) END"
        )
    };
    format!(
        "SELECT c.oid, n.nspname, c.relname, c.relkind, c.relpersistence, \
                pg_catalog.pg_get_userbyid(c.relowner) AS owner, c.relacl, \
                pg_catalog.acldefault(CASE c.relkind WHEN 'S' THEN 's'::\"char\" \
                                      ELSE 'r'::\"char\" END, c.relowner) AS acl_default, \
                am.amname, ts.spcname, {} AS options, {} AS toast_options, \
                CASE WHEN c.reloptions IS NOT NULL THEN \
                  (SELECT o.option_value FROM pg_catalog.pg_options_to_table(c.reloptions) AS o \
                   WHERE o.option_name = 'check_option') END AS check_option, \
                c.relrowsecurity, c.relforcerowsecurity, c.relreplident, c.relispopulated, \
                c.relispartition, pg_catalog.pg_get_expr(c.relpartbound, c.oid) AS bound, \
                CASE WHEN c.relkind = 'p' THEN pg_catalog.pg_get_partkeydef(c.oid) END AS partkey, \
                CASE WHEN c.reloftype <> 0 \
                     THEN pg_catalog.format_type(c.reloftype, NULL) END AS of_type, \
                fs.srvname, {} AS foreign_options \
         FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         LEFT JOIN pg_catalog.pg_class t ON t.oid = c.reltoastrelid \
         LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam \
         LEFT JOIN pg_catalog.pg_tablespace ts ON ts.oid = c.reltablespace \
         LEFT JOIN pg_catalog.pg_foreign_table ft ON ft.ftrelid = c.oid \
         LEFT JOIN pg_catalog.pg_foreign_server fs ON fs.oid = ft.ftserver \
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND c.relpersistence <> 't' \
         AND {USER_SCHEMA}",
        options("c.reloptions", "", "WHERE o.option_name <> 'check_option'"),
        options("t.reloptions", "toast.", ""),
        foreign_data::options("ft.ftoptions"),
    )
}

fn facts(context: &Context<'_>, row: &Row) -> Result<RelationFacts> {
    let owned = |column: &str| Ok(row.optional(column)?.map(str::to_owned));
    let oid = row.parse("oid")?;
    let options: Vec<String> =
        [owned("options")?, owned("toast_options")?].into_iter().flatten().collect();
    Ok(RelationFacts {
        oid,
        schema: row.text("nspname")?.to_owned(),
        name: row.text("relname")?.to_owned(),
        relkind: match row.text("relkind")? {
            "p" => Relkind::Partitioned,
            "v" => Relkind::View,
            "m" => Relkind::MaterializedView,
            "S" => Relkind::Sequence,
            "f" => Relkind::Foreign,
            _ => Relkind::Table,
        },
        unlogged: row.text("relpersistence")? == "u",
        owner: row.text("owner")?.to_owned(),
        acl: array::optional_elements(row.optional("relacl")?)?,
        acl_default: array::elements(row.text("acl_default")?)?,
        access_method: owned("amname")?,
        tablespace: owned("spcname")?,
        options: (!options.is_empty()).then(|| options.join(", ")),
        check_option: owned("check_option")?,
        row_security: row.bool("relrowsecurity")?,
        force_row_security: row.bool("relforcerowsecurity")?,
        replica_identity: row.text("relreplident")?.to_owned(),
        populated: row.bool("relispopulated")?,
        is_partition: row.bool("relispartition")?,
        partition_bound: owned("bound")?,
        partition_key: owned("partkey")?,
        foreign: match owned("srvname")? {
            Some(server) => Some(ForeignFacts { server, options: owned("foreign_options")? }),
            None => None,
        },
        of_type: owned("of_type")?,
        pages: 0,
        toast_pages: 0,
        parents: Vec::new(),
        columns: Vec::new(),
        extension: context.extension_of(Address::new("pg_class", oid)),
    })
}

async fn read_parents(context: &Context<'_>, relations: &mut Relations) -> Result<()> {
    // A partition that is being detached is on its own already as far as others see.
    let sql = "SELECT inhrelid, inhparent FROM pg_catalog.pg_inherits \
               WHERE NOT inhdetachpending ORDER BY inhrelid, inhseqno";
    for row in context.ask(Owner::object("pg_class", "inhrelid"), sql).await? {
        if let Some(position) = relations.positions.get(&row.parse("inhrelid")?) {
            relations.list[*position].parents.push(row.parse("inhparent")?);
        }
    }
    Ok(())
}

/// Reads how large tables are: of now, whatever the snapshot.
async fn read_sizes(context: &Context<'_>, relations: &mut Relations) -> Result<()> {
    let sql = format!(
        "SELECT c.oid, pg_catalog.pg_relation_size(c.oid) \
                  / pg_catalog.current_setting('block_size')::bigint AS pages, \
                CASE WHEN c.reltoastrelid <> 0 THEN pg_catalog.pg_relation_size(c.reltoastrelid) END \
                  / pg_catalog.current_setting('block_size')::bigint AS toast_pages \
         FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND {USER_SCHEMA}"
    );
    for row in context.source.server()?.query(&sql).await? {
        let blocks = |column: &str| match row.optional(column)? {
            Some(_) => row.parse::<u64>(column),
            None => Ok(0),
        };
        if let Some(position) = relations.positions.get(&row.parse("oid")?) {
            let relation = &mut relations.list[*position];
            relation.pages = blocks("pages")?;
            relation.toast_pages = blocks("toast_pages")?;
        }
    }
    Ok(())
}
