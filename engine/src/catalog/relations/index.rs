//! Indexes, and the attachment of partitions' indexes to those of partitioned tables.

use crate::Result;
use crate::catalog::context::Context;
use crate::catalog::objects::schemas::USER_SCHEMA;
use crate::catalog::relations::relation::{RelationFacts, Relations, Relkind};
use crate::catalog::source::Owner;
use crate::catalog::{Address, Draft};
use crate::postgres::{Row, identifier, qualified};
use pgkeep_format::entry::{Kind, Section, Storage};
use std::collections::HashMap;

/// One index.
#[derive(Debug, Clone)]
pub(in crate::catalog) struct IndexFacts {
    pub(in crate::catalog) oid: u32,
    pub(in crate::catalog) schema: String,
    pub(in crate::catalog) name: String,
    pub(in crate::catalog) relation: u32,
    /// Whether a primary key, unique or exclusion constraint makes it.
    pub(in crate::catalog) of_constraint: bool,
    valid: bool,
    clustered: bool,
    replica_identity: bool,
    pub(in crate::catalog) definition: String,
    /// `name='value', …`.
    pub(in crate::catalog) options: Option<String>,
    tablespace: Option<String>,
    /// Whether the server may have statistics of its columns: only of expressions.
    pub(in crate::catalog) has_expressions: bool,
    /// (column number, target) of expression columns that have one.
    statistics: Vec<(i16, i32)>,
    /// The partitioned index that it is a part of, 0 for none.
    pub(in crate::catalog) parent: u32,
}

impl IndexFacts {
    /// Its address.
    pub(in crate::catalog) fn address(&self) -> Address {
        Address::new("pg_class", self.oid)
    }

    /// What COMMENT and ALTER call it.
    pub(in crate::catalog) fn target(&self) -> String {
        format!("INDEX {}", qualified(&self.schema, &self.name))
    }

    /// Where the server keeps it.
    pub(in crate::catalog) fn storage(&self) -> Storage {
        Storage { tablespace: self.tablespace.clone(), access_method: None }
    }

    fn attachment(&self) -> Address {
        Address::new("pg_inherits", self.oid)
    }
}

/// All indexes, in order of schema and name.
pub(in crate::catalog) struct Indexes {
    list: Vec<IndexFacts>,
    positions: HashMap<u32, usize>,
    children: HashMap<u32, Vec<u32>>,
}

impl Indexes {
    /// The index of an OID.
    pub(in crate::catalog) fn get(&self, oid: u32) -> Option<&IndexFacts> {
        self.positions.get(&oid).map(|position| &self.list[*position])
    }

    /// All that are backed up.
    pub(in crate::catalog) fn valid(&self) -> impl Iterator<Item = &IndexFacts> {
        self.list.iter().filter(|index| index.valid)
    }

    /// The addresses of all attachments of parts to a partitioned index, at any depth.
    pub(in crate::catalog) fn attachments_below(&self, oid: u32) -> Vec<Address> {
        let mut found = Vec::new();
        let mut open = vec![oid];
        while let Some(parent) = open.pop() {
            for child in self.children.get(&parent).map_or(&[][..], Vec::as_slice) {
                found.push(Address::new("pg_inherits", *child));
                open.push(*child);
            }
        }
        found
    }
}

/// Reads all indexes.
pub(in crate::catalog) async fn read(context: &Context<'_>) -> Result<Indexes> {
    let sql = format!(
        "SELECT i.indexrelid, n.nspname, c.relname, i.indrelid, i.indisvalid, \
                i.indisclustered, i.indisreplident, c.relkind, ts.spcname, h.inhparent, \
                co.conindid IS NOT NULL AS of_constraint, \
                pg_catalog.pg_get_indexdef(i.indexrelid) AS definition, \
                CASE WHEN c.reloptions IS NOT NULL THEN \
                (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(o.option_name) || '=' \
                        || pg_catalog.quote_literal(o.option_value), ', ' ORDER BY u.n) \
                 FROM pg_catalog.unnest(c.reloptions) WITH ORDINALITY AS u(option, n), \
                      pg_catalog.pg_options_to_table(ARRAY[u.option]) AS o) END AS options, \
                i.indexprs IS NOT NULL AS has_expressions, st.statistics \
         FROM pg_catalog.pg_index i \
         JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
         JOIN pg_catalog.pg_class t ON t.oid = i.indrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         LEFT JOIN (SELECT DISTINCT conindid, conrelid FROM pg_catalog.pg_constraint \
                    WHERE contype IN ('p', 'u', 'x')) co \
           ON co.conindid = i.indexrelid AND co.conrelid = i.indrelid \
         LEFT JOIN (SELECT attrelid, \
                           pg_catalog.array_agg(attnum || ':' || attstattarget ORDER BY attnum) \
                             AS statistics \
                    FROM pg_catalog.pg_attribute WHERE attstattarget >= 0 AND attnum > 0 \
                    GROUP BY attrelid) st ON st.attrelid = i.indexrelid \
         LEFT JOIN pg_catalog.pg_inherits h ON h.inhrelid = i.indexrelid \
         LEFT JOIN pg_catalog.pg_tablespace ts ON ts.oid = c.reltablespace \
         WHERE t.relkind IN ('r', 'p', 'm') AND t.relpersistence <> 't' \
         AND i.indislive AND {USER_SCHEMA}"
    );
    let rows = context.ask(Owner::object("pg_class", "indexrelid"), &sql).await?;
    let mut list = rows.iter().map(facts).collect::<Result<Vec<_>>>()?;
    list.sort_by(|a, b| (&a.schema, &a.name).cmp(&(&b.schema, &b.name)));
    let positions =
        list.iter().enumerate().map(|(position, index)| (index.oid, position)).collect();
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for index in list.iter().filter(|index| index.parent != 0) {
        children.entry(index.parent).or_default().push(index.oid);
    }
    Ok(Indexes { list, positions, children })
}

fn facts(row: &Row) -> Result<IndexFacts> {
    let owned = |column: &str| Ok(row.optional(column)?.map(str::to_owned));
    let statistics = crate::catalog::array::optional_elements(row.optional("statistics")?)?;
    let target = |pair: &String| {
        let (number, target) = pair.split_once(':')?;
        Some((number.parse().ok()?, target.parse().ok()?))
    };
    Ok(IndexFacts {
        oid: row.parse("indexrelid")?,
        schema: row.text("nspname")?.to_owned(),
        name: row.text("relname")?.to_owned(),
        relation: row.parse("indrelid")?,
        of_constraint: row.bool("of_constraint")?,
        // That of a partitioned table is not valid while a partition lacks its part.
        valid: row.bool("indisvalid")? || row.text("relkind")? == "I",
        clustered: row.bool("indisclustered")?,
        replica_identity: row.bool("indisreplident")?,
        definition: row.text("definition")?.to_owned(),
        options: owned("options")?,
        tablespace: owned("spcname")?,
        has_expressions: row.bool("has_expressions")?,
        statistics: statistics.unwrap_or_default().iter().filter_map(target).collect(),
        parent: match row.optional("inhparent")? {
            Some(_) => row.parse("inhparent")?,
            None => 0,
        },
    })
}

/// Drafts of the indexes that no constraint makes, and of all attachments.
pub(in crate::catalog) fn drafts(
    context: &Context<'_>,
    relations: &Relations,
    indexes: &Indexes,
    warnings: &mut Vec<String>,
) -> Vec<Draft> {
    let mut drafts = Vec::new();
    for index in &indexes.list {
        let Some(relation) = relations.get(index.relation) else { continue };
        if !index.valid {
            warnings.push(format!(
                "index {} of table {} is not valid and is left out; REINDEX makes it valid",
                qualified(&index.schema, &index.name),
                relation.qualified()
            ));
            continue;
        }
        if !index.of_constraint {
            drafts.push(draft(context, relation, index));
        }
        if let Some(parent) = indexes.get(index.parent) {
            drafts.push(attachment(relation, index, parent));
        }
    }
    drafts
}

fn draft(context: &Context<'_>, relation: &RelationFacts, index: &IndexFacts) -> Draft {
    let mut draft = relation.part(Kind::Index, Section::PostData, &index.name);
    draft.address = Some(index.address());
    draft.target = Some(index.target());
    // A part of another index goes with that one, and cannot go alone.
    draft.drop = (index.parent == 0).then(|| format!("DROP {};", index.target()));
    draft.storage = index.storage();
    let statements = statements(context, relation, index);
    draft.body = format!("{};\n{statements}", index.definition).into();
    draft
}

/// What is said of an index after it is made.
pub(in crate::catalog) fn statements(
    context: &Context<'_>,
    relation: &RelationFacts,
    index: &IndexFacts,
) -> String {
    let (table, name) = (relation.qualified(), identifier(&index.name));
    let mut text = String::new();
    for (number, target) in &index.statistics {
        text +=
            &format!("ALTER {} ALTER COLUMN {number} SET STATISTICS {target};\n", index.target());
    }
    if index.clustered {
        let target = match relation.relkind {
            Relkind::MaterializedView => "MATERIALIZED VIEW",
            _ => "TABLE",
        };
        text += &format!("ALTER {target} {table} CLUSTER ON {name};\n");
    }
    if index.replica_identity {
        text += &format!("ALTER TABLE ONLY {table} REPLICA IDENTITY USING INDEX {name};\n");
    }
    text + &context.depends_on_extension(index.address(), &index.target())
}

fn attachment(relation: &RelationFacts, index: &IndexFacts, parent: &IndexFacts) -> Draft {
    let mut draft = relation.part(Kind::IndexAttach, Section::PostData, &index.name);
    draft.address = Some(index.attachment());
    draft.depends_on = vec![index.address(), parent.address()];
    draft.body = format!(
        "ALTER INDEX {} ATTACH PARTITION {};\n",
        qualified(&parent.schema, &parent.name),
        qualified(&index.schema, &index.name)
    )
    .into();
    draft
}
