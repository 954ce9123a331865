//! A segment being built: changes gathered table by table, cut into chunks, sealed and sent to
//! change packs as they come. It exists only once [`SegmentBuilder::store`] has returned.

use super::rows;
use crate::postgres::pgoutput::{Action, Old, Value};
use crate::repository::{Lease, NewFrame, Packer, Repository};
use crate::seal::{Sealer, chunk_id, random};
use crate::{Error, ErrorKind, Lsn, Result, clock};
use pgkeep_format::catalog_image::CatalogImage;
use pgkeep_format::change::{self, Change, OldRow};
use pgkeep_format::frame::{FrameType, InnerHeader};
use pgkeep_format::id::{ChunkId, KeyId, ObjectId, PackId};
use pgkeep_format::index::IndexedPack;
use pgkeep_format::segment::{
    ChangeChunk, ClearPart, DEFINITIONS, Image, Mark, RelationVersion, Run, SealedPart, Transaction,
};
use std::collections::HashMap;
use std::sync::Arc;

/// Bytes of changes of one table that make a chunk.
const CHUNK_BYTES: usize = 1 << 20;

/// Bytes of a piece of a change that is longer than a chunk may be.
const PIECE_BYTES: usize = 8 << 20;

/// Bytes of a change pack.
const PACK_TARGET: u64 = 64 << 20;

/// What a builder needs to store.
#[derive(Clone)]
pub(super) struct Storage {
    pub(super) repository: Repository,
    pub(super) sealer: Sealer,
    /// The data key that it seals with.
    pub(super) key: Option<KeyId>,
    /// Protects what is in no segment yet.
    pub(super) lease: Arc<Lease>,
}

/// A segment being built.
pub(super) struct SegmentBuilder {
    storage: Storage,
    packer: Packer,
    relations: Vec<Arc<RelationVersion>>,
    /// Position in `relations` and in `tables` of the version that a table has now.
    current: HashMap<u32, usize>,
    tables: Vec<Table>,
    pub(super) transactions: Vec<Transaction>,
    pub(super) marks: Vec<Mark>,
    /// Bytes of changes taken so far.
    pub(super) bytes: usize,
    /// Bytes of changes that are in no chunk yet.
    pub(super) waiting: usize,
    /// Where an image was read, and its chunks.
    image: Option<(Lsn, Vec<(ChunkId, bool)>)>,
    old: Vec<u8>,
    new: Vec<u8>,
}

/// Changes of one table in one version.
#[derive(Default)]
struct Table {
    waiting: Vec<u8>,
    chunks: Vec<(ChunkId, bool)>,
    changes: u64,
    bytes: u64,
}

/// What a segment says beside its changes.
pub(super) struct Facts {
    pub(super) clear: ClearPart,
    pub(super) sealed: SealedPart,
}

impl SegmentBuilder {
    pub(super) fn new(storage: &Storage) -> Self {
        Self {
            storage: storage.clone(),
            packer: Packer::of_changes(&storage.repository, PACK_TARGET),
            relations: Vec::new(),
            current: HashMap::new(),
            tables: Vec::new(),
            transactions: Vec::new(),
            marks: Vec::new(),
            bytes: 0,
            waiting: 0,
            image: None,
            old: Vec::new(),
            new: Vec::new(),
        }
    }

    /// Whether nothing was taken yet.
    pub(super) fn is_empty(&self) -> bool {
        self.transactions.is_empty() && self.bytes == 0 && self.marks.is_empty()
    }

    /// Number of tables, versions counted apart.
    pub(super) fn tables(&self) -> usize {
        self.tables.len()
    }

    /// Whether it says something of definitions.
    pub(super) fn has_definitions(&self) -> bool {
        self.image.is_some() || self.relations.iter().any(|relation| relation.oid == DEFINITIONS)
    }

    /// Takes an image of all definitions that was read at `lsn`.
    pub(super) async fn push_image(&mut self, image: &CatalogImage, lsn: Lsn) -> Result<()> {
        let bytes = image.encode();
        let pieces = bytes.chunks(PIECE_BYTES);
        let last = pieces.len().saturating_sub(1);
        let mut chunks = Vec::with_capacity(pieces.len());
        for (number, piece) in pieces.enumerate() {
            let continues = number < last;
            chunks.push((self.seal(piece.to_vec(), continues).await?, continues));
        }
        self.image = Some((lsn, chunks));
        Ok(())
    }

    /// Takes a row's change. `member` is what [`Change::member`] says.
    pub(super) async fn push(
        &mut self,
        relation: &Arc<RelationVersion>,
        member: u32,
        action: &Action<'_>,
    ) -> Result<()> {
        let (mut old, mut new) = (std::mem::take(&mut self.old), std::mem::take(&mut self.new));
        let taken = self.take(relation, member, action, &mut old, &mut new).await;
        (self.old, self.new) = (old, new);
        taken
    }

    async fn take(
        &mut self,
        relation: &Arc<RelationVersion>,
        member: u32,
        action: &Action<'_>,
        old_row: &mut Vec<u8>,
        new_row: &mut Vec<u8>,
    ) -> Result<()> {
        old_row.clear();
        new_row.clear();
        let (kind, old, new) = match action {
            Action::Insert { new, .. } => (change::Action::Insert, None, Some(new)),
            Action::Update { old, new, .. } => (change::Action::Update, old.as_ref(), Some(new)),
            Action::Delete { old, .. } => (change::Action::Delete, Some(old), None),
            Action::Truncate { .. } => (change::Action::Truncate, None, None),
        };
        let count = relation.columns.len();
        let counts = [old.map(|old| old.tuple.len()), new.map(Vec::len)];
        if counts.iter().flatten().any(|found| *found != count) {
            let message = format!(
                "server sent a change of {}.{} with another number of columns than it described",
                relation.schema, relation.name
            );
            return Err(Error::new(ErrorKind::Connection, message));
        }
        let mut unchanged = Vec::new();
        if let Some(new) = new {
            let new = filled(new, old, &mut unchanged);
            rows::write(new_row, &new, |_| true);
        }
        if let Some(old) = old {
            let key = |at: usize| old.is_whole || relation.columns[at].is_key;
            rows::write(old_row, &old.tuple, key);
        }
        let change = Change {
            action: kind,
            member,
            old: old.map(|old| OldRow { is_whole: old.is_whole, row: old_row }),
            unchanged,
            new: new_row,
        };
        let at = self.table(relation);
        let table = &mut self.tables[at];
        let before = table.waiting.len();
        change.encode(&mut table.waiting).map_err(|error| {
            Error::new(ErrorKind::Server, "change is longer than the format allows").because(error)
        })?;
        let len = table.waiting.len() - before;
        table.changes += 1;
        table.bytes += len as u64;
        self.bytes += len;
        self.waiting += len;
        if self.tables[at].waiting.len() >= CHUNK_BYTES { self.cut(at).await } else { Ok(()) }
    }

    /// The place of a table in its version of now.
    fn table(&mut self, relation: &Arc<RelationVersion>) -> usize {
        if let Some(at) = self.current.get(&relation.oid)
            && self.relations[*at] == *relation
        {
            return *at;
        }
        self.relations.push(relation.clone());
        self.tables.push(Table::default());
        let at = self.tables.len() - 1;
        self.current.insert(relation.oid, at);
        at
    }

    /// Makes chunks of what waits of one table.
    async fn cut(&mut self, at: usize) -> Result<()> {
        let waiting = std::mem::take(&mut self.tables[at].waiting);
        self.waiting -= waiting.len();
        let pieces = waiting.chunks(PIECE_BYTES);
        let last = pieces.len().saturating_sub(1);
        for (number, piece) in pieces.enumerate() {
            let continues = number < last;
            let id = self.seal(piece.to_vec(), continues).await?;
            self.tables[at].chunks.push((id, continues));
        }
        Ok(())
    }

    async fn seal(&mut self, plain: Vec<u8>, continues: bool) -> Result<ChunkId> {
        let sealer = self.storage.sealer.clone();
        let secrets = self.storage.repository.secrets()?.clone();
        let sealed = tokio::task::spawn_blocking(move || {
            let flags = InnerHeader::flags_of(continues);
            let id = chunk_id(&secrets, FrameType::Changes, flags, &plain);
            sealer.seal(FrameType::Changes, id, continues, &plain).map(|bytes| (id, bytes))
        });
        let (chunk, bytes) = sealed.await.map_err(|error| {
            Error::new(ErrorKind::Internal, "sealing a chunk did not end").because(error)
        })??;
        self.packer.add(NewFrame { chunk, frame_type: FrameType::Changes, bytes }).await?;
        Ok(chunk)
    }

    /// Makes chunks of all that waits, so that memory is free for others.
    pub(super) async fn cut_all(&mut self) -> Result<()> {
        for at in 0..self.tables.len() {
            self.cut(at).await?;
        }
        Ok(())
    }

    /// Writes all, the segment last; when this returns, it is durable.
    pub(super) async fn store(mut self, facts: Facts) -> Result<ClearPart> {
        self.cut_all().await?;
        let Facts { mut clear, mut sealed } = facts;
        let packs = self.packer.finish_changes().await?;
        clear.keys = self.storage.key.into_iter().collect();
        clear.packs = packs.iter().map(|pack| pack.pack).collect();
        clear.stored_bytes = packs.iter().map(|pack| pack.len).sum();
        clear.transactions = self.transactions.len() as u64;
        clear.id = ObjectId(random()?);
        clear.written_at = clock::now_micros();
        let places = Places::new(&packs, &clear.packs);
        for (number, table) in self.tables.iter().enumerate() {
            let chunks = table.chunks.iter().map(|(id, continues)| places.find(*id, *continues));
            sealed.runs.push(Run {
                relation: u32::try_from(number).unwrap_or(u32::MAX),
                chunks: chunks.collect::<Result<_>>()?,
                changes: table.changes,
                bytes: table.bytes,
            });
        }
        if let Some((lsn, chunks)) = &self.image {
            let chunks = chunks.iter().map(|(id, continues)| places.find(*id, *continues));
            sealed.image = Some(Image { lsn: lsn.0, chunks: chunks.collect::<Result<_>>()? });
        }
        sealed.relations = self.relations.iter().map(|relation| (**relation).clone()).collect();
        sealed.transactions = self.transactions;
        sealed.marks = self.marks;
        let Storage { repository, sealer, lease, .. } = &self.storage;
        repository.store_segment(&clear, &sealed, sealer, lease).await?;
        Ok(clear)
    }
}

/// Where the chunks of finished packs lie.
struct Places(HashMap<ChunkId, ChangeChunk>);

impl Places {
    fn new(packs: &[IndexedPack], ids: &[PackId]) -> Self {
        let mut places = HashMap::new();
        for (number, pack) in packs.iter().enumerate().take(ids.len()) {
            for entry in &pack.entries {
                let place = ChangeChunk {
                    id: entry.chunk,
                    pack: u32::try_from(number).unwrap_or(u32::MAX),
                    offset: entry.offset,
                    stored_len: entry.stored_len,
                    continues: false,
                };
                places.insert(entry.chunk, place);
            }
        }
        Self(places)
    }

    fn find(&self, id: ChunkId, continues: bool) -> Result<ChangeChunk> {
        let place = self
            .0
            .get(&id)
            .ok_or_else(|| Error::new(ErrorKind::Internal, "a chunk of changes is in no pack"))?;
        Ok(ChangeChunk { continues, ..*place })
    }
}

/// The new row with its unchanged values taken from the whole old row where that is there;
/// notes those that are not.
fn filled<'a>(
    new: &[Value<'a>],
    old: Option<&Old<'a>>,
    unchanged: &mut Vec<u16>,
) -> Vec<Value<'a>> {
    let whole = old.filter(|old| old.is_whole);
    let mut values = new.to_vec();
    for (at, value) in
        values.iter_mut().enumerate().filter(|(_, value)| **value == Value::Unchanged)
    {
        match whole.and_then(|old| old.tuple.get(at)) {
            Some(known) if *known != Value::Unchanged => *value = *known,
            // COLUMNS_MAX keeps positions within u16.
            _ => unchanged.push(u16::try_from(at).unwrap_or(u16::MAX)),
        }
    }
    values
}
