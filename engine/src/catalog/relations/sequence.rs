//! Sequences: definitions, the columns they belong to, their values.

use crate::catalog::context::Context;
use crate::catalog::relations::relation::{RelationFacts, Relations, Relkind};
use crate::catalog::source::{Owner, Source};
use crate::catalog::{Address, Draft, SequenceStates};
use crate::postgres::{Row, identifier, literal};
use crate::{Error, ErrorKind, Result};
use pgkeep_format::entry::{Kind, Section};
use std::collections::HashSet;

/// Sequences asked for their value in one query where each must be asked by name; bounds
/// the length of the query.
const VALUES_PER_QUERY: usize = 200;

/// One sequence's definition and where it belongs.
struct SequenceFacts<'a> {
    relation: &'a RelationFacts,
    definition: String,
    type_name: String,
    owner: Option<ColumnOwner<'a>>,
}

/// The column that a sequence belongs to.
struct ColumnOwner<'a> {
    table: &'a RelationFacts,
    column: String,
    /// `a` (always) or `d` (by default) of an identity column, else empty.
    identity: String,
}

/// Reads drafts of sequences, and of where they belong.
pub(in crate::catalog) async fn read(
    context: &Context<'_>,
    relations: &Relations,
) -> Result<Vec<Draft>> {
    let sql = "SELECT s.seqrelid, pg_catalog.format_type(s.seqtypid, NULL) AS type_name, \
                      s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle, \
                      d.refobjid, d.refobjsubid, d.deptype \
               FROM pg_catalog.pg_sequence s \
               LEFT JOIN pg_catalog.pg_depend d \
                 ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass \
                 AND d.objid = s.seqrelid AND d.objsubid = 0 \
                 AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass \
                 AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')";
    let mut drafts = Vec::new();
    for row in context.ask(Owner::object("pg_class", "seqrelid"), sql).await? {
        let Some(relation) = relations.get(row.parse("seqrelid")?) else { continue };
        let sequence = facts(&row, relation, relations)?;
        match &sequence.owner {
            Some(owner) if !owner.identity.is_empty() => {
                drafts.push(identity(context, &sequence, owner));
            }
            owner => {
                drafts.push(standalone(&sequence));
                drafts.extend(owner.as_ref().map(|owner| owned_by(relation, owner)));
            }
        }
    }
    Ok(drafts)
}

fn facts<'a>(
    row: &Row,
    relation: &'a RelationFacts,
    relations: &'a Relations,
) -> Result<SequenceFacts<'a>> {
    let cycle = if row.bool("seqcycle")? { "\n    CYCLE" } else { "" };
    let definition = format!(
        "    START WITH {}\n    INCREMENT BY {}\n    MINVALUE {}\n    MAXVALUE {}\n    CACHE {}{cycle}",
        row.text("seqstart")?,
        row.text("seqincrement")?,
        row.text("seqmin")?,
        row.text("seqmax")?,
        row.text("seqcache")?
    );
    let mut owner = None;
    if row.optional("refobjid")?.is_some()
        && let Some(table) = relations.get(row.parse("refobjid")?)
        && let Some(column) = table.column(row.parse("refobjsubid")?)
    {
        let internal = row.text("deptype")? == "i";
        let identity = if internal { column.identity.clone() } else { String::new() };
        owner = Some(ColumnOwner { table, column: column.name.clone(), identity });
    }
    let type_name = row.text("type_name")?.to_owned();
    Ok(SequenceFacts { relation, definition, type_name, owner })
}

fn draft(sequence: &SequenceFacts<'_>) -> Draft {
    let relation = sequence.relation;
    let target = format!("SEQUENCE {}", relation.qualified());
    let mut draft =
        Draft::new(Kind::Sequence, Section::PreData, Some(&relation.schema), &relation.name);
    draft.address = Some(relation.address());
    draft.privileges = relation.privileges(&target);
    draft.belongs_to = sequence.owner.as_ref().map(|owner| owner.table.address());
    draft.drop = Some(format!("DROP {target};"));
    draft.target = Some(target);
    draft
}

fn standalone(sequence: &SequenceFacts<'_>) -> Draft {
    let relation = sequence.relation;
    let mut draft = draft(sequence);
    let unlogged = if relation.unlogged { "UNLOGGED " } else { "" };
    draft.owner = Some(relation.owner.clone());
    draft.body = format!(
        "CREATE {unlogged}SEQUENCE {}\n    AS {}\n{};\n",
        relation.qualified(),
        sequence.type_name,
        sequence.definition
    )
    .into();
    draft
}

/// A sequence that its column makes and owns.
fn identity(context: &Context<'_>, sequence: &SequenceFacts<'_>, owner: &ColumnOwner<'_>) -> Draft {
    let relation = sequence.relation;
    let mut draft = draft(sequence);
    let when = if owner.identity == "a" { "ALWAYS" } else { "BY DEFAULT" };
    let mut create = format!(
        "ALTER TABLE {} ALTER COLUMN {} ADD GENERATED {when} AS IDENTITY (\n    \
         SEQUENCE NAME {}\n{}\n);\n",
        owner.table.qualified(),
        identifier(&owner.column),
        relation.qualified(),
        sequence.definition
    );
    if context.major() >= 15 && relation.unlogged != owner.table.unlogged {
        let logged = if relation.unlogged { "UNLOGGED" } else { "LOGGED" };
        create += &format!("ALTER SEQUENCE {} SET {logged};\n", relation.qualified());
    }
    draft.body = create.into();
    draft
}

fn owned_by(relation: &RelationFacts, owner: &ColumnOwner<'_>) -> Draft {
    let mut draft = relation.part(Kind::SequenceOwnedBy, Section::PreData, &relation.name);
    draft.depends_on = vec![relation.address(), owner.table.address()];
    draft.body = format!(
        "ALTER SEQUENCE {} OWNED BY {}.{};\n",
        relation.qualified(),
        owner.table.qualified(),
        identifier(&owner.column)
    )
    .into();
    draft
}

/// Reads drafts of the values of the sequences in `wanted`.
///
/// Values are not of the transaction's snapshot: a sequence only ever has its latest one.
pub(in crate::catalog) async fn values(
    context: &Context<'_>,
    relations: &Relations,
    wanted: &HashSet<u32>,
    configuration: &[(u32, String)],
) -> Result<Vec<Draft>> {
    let own = relations.of(&[Relkind::Sequence]);
    let configured = configuration.iter().filter_map(|(oid, _)| relations.with_members(*oid));
    let sequences: Vec<&RelationFacts> = own
        .chain(configured.filter(|relation| relation.relkind == Relkind::Sequence))
        .filter(|relation| wanted.contains(&relation.oid))
        .collect();
    if sequences.is_empty() {
        return Ok(Vec::new());
    }
    let states = match context.source {
        Source::Server(_) => {
            check_privileges(context, &sequences).await?;
            match context.major() {
                ..=17 => states_by_name(context, &sequences).await?,
                _ => states_by_function(context).await?,
            }
        }
        Source::Recorder(_) => return Ok(Vec::new()),
        Source::Image(replay) => replay.sequences.clone(),
    };
    let drafts = sequences.iter().filter_map(|relation| {
        let (value, called) = states.get(&relation.oid)?;
        let mut draft = relation.part(Kind::SequenceSet, Section::Data, &relation.name);
        draft.belongs_to = Some(match relation.extension {
            Some(extension) => Address::new("pg_extension", extension),
            None => relation.address(),
        });
        draft.depends_on = draft.belongs_to.into_iter().collect();
        draft.body = format!(
            "SELECT pg_catalog.setval({}, {value}, {called});\n",
            literal(&relation.qualified())
        )
        .into();
        Some(draft)
    });
    Ok(drafts.collect())
}

async fn check_privileges(context: &Context<'_>, sequences: &[&RelationFacts]) -> Result<()> {
    let sql = "SELECT c.oid FROM pg_catalog.pg_class c WHERE \
               CASE c.relkind WHEN 'S' \
                 THEN NOT pg_catalog.has_sequence_privilege(c.oid, 'SELECT') END";
    let mut refused = HashSet::new();
    for row in context.source.server()?.query(sql).await? {
        refused.insert(row.parse::<u32>("oid")?);
    }
    let names: Vec<String> = sequences
        .iter()
        .filter(|relation| refused.contains(&relation.oid))
        .map(|relation| relation.qualified())
        .collect();
    if names.is_empty() {
        return Ok(());
    }
    let list = names.join(", ");
    Err(Error::new(ErrorKind::Privilege, format!("permission denied for sequence {list}"))
        .hint(format!("GRANT SELECT ON SEQUENCE {list} TO CURRENT_ROLE;")))
}

type States = SequenceStates;

async fn states_by_name(context: &Context<'_>, sequences: &[&RelationFacts]) -> Result<States> {
    let mut states = States::new();
    for some in sequences.chunks(VALUES_PER_QUERY) {
        let selects: Vec<String> = some
            .iter()
            .map(|relation| {
                format!(
                    "SELECT {}::bigint AS oid, last_value, is_called FROM {}",
                    relation.oid,
                    relation.qualified()
                )
            })
            .collect();
        insert(&mut states, &context.source.server()?.query(&selects.join(" UNION ALL ")).await?)?;
    }
    Ok(states)
}

async fn states_by_function(context: &Context<'_>) -> Result<States> {
    // No value: not ours to read, or of another session.
    let sql = "SELECT c.seqrelid AS oid, d.last_value, d.is_called \
               FROM pg_catalog.pg_sequence c, pg_catalog.pg_get_sequence_data(c.seqrelid) AS d \
               WHERE d.last_value IS NOT NULL";
    let mut states = States::new();
    insert(&mut states, &context.source.server()?.query(sql).await?)?;
    Ok(states)
}

fn insert(states: &mut States, rows: &[Row]) -> Result<()> {
    for row in rows {
        states.insert(row.parse("oid")?, (row.parse("last_value")?, row.bool("is_called")?));
    }
    Ok(())
}
