//! A session of the replication protocol: commands about slots, and the stream of a logical
//! slot, in which the server sends and we say how far we are.
//! <https://www.postgresql.org/docs/current/protocol-replication.html>
//!
//! What the messages of the stream mean is for [`crate::postgres::pgoutput`].

use super::inbox::{Carrier, Item};
use super::{State, WireSession, answer};
use crate::postgres::{Row, ServerError, Settings, identifier, literal, only};
use crate::{Error, ErrorKind, Lsn, Result};
use bytes::BytesMut;
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;

/// Longest message of the stream: a row of 1 GiB and what stands around it.
const WAL_MESSAGE_BYTES_MAX: usize = (1 << 30) + (64 << 20);

/// Microseconds between 1970 and 2000, where PostgreSQL's clock begins.
pub const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

/// A session that can run commands of the replication protocol.
///
/// It stays the role that logs in: that role, not the one of `--role`, has the right to
/// replicate.
pub struct ReplicationSession {
    wire: WireSession,
}

/// What a server says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SystemIdentity {
    /// Made by `initdb`, the same on all standbys.
    pub system_identifier: u64,
    /// Its timeline.
    pub timeline: u32,
    /// How far its WAL is flushed.
    pub flushed: Lsn,
}

/// A logical slot that was just made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSlot {
    /// Every transaction that commits after this is streamed.
    pub consistent_point: Lsn,
    /// A snapshot of exactly what was committed before; good until the session's next
    /// command.
    pub snapshot: String,
}

/// The stream of a slot; dropping it ends the session.
pub struct Replicated {
    wire: WireSession,
    /// The message being put together.
    message: Vec<u8>,
    /// Whether `message` is whole and was handed out.
    handed_out: bool,
}

/// What the server sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalSent<'a> {
    /// One message of the output plugin.
    Data {
        /// Where in the WAL it begins; 0 where the server does not say.
        start: Lsn,
        /// What the plugin wrote.
        data: &'a [u8],
    },
    /// Nothing to send up to here.
    Keepalive {
        /// How far the server has read.
        end: Lsn,
        /// Whether it wants to hear from us at once.
        reply: bool,
    },
}

impl ReplicationSession {
    /// Opens a session; `purpose` is a word for the application name.
    ///
    /// # Errors
    /// As [`WireSession::connect`].
    pub async fn connect(settings: &Settings, purpose: &str) -> Result<Self> {
        let wire = WireSession::log_in(settings, purpose, super::Purpose::Replication).await?;
        Ok(Self { wire })
    }

    /// Runs statements; rows they return are thrown away.
    ///
    /// # Errors
    /// As [`WireSession::execute`].
    pub async fn execute(&mut self, sql: &str) -> Result<()> {
        self.wire.execute(sql).await
    }

    /// Asks the server who it is.
    ///
    /// # Errors
    /// As [`WireSession::execute`].
    pub async fn identify(&mut self) -> Result<SystemIdentity> {
        let row = self.one("IDENTIFY_SYSTEM").await?;
        Ok(SystemIdentity {
            system_identifier: row.parse("systemid")?,
            timeline: row.parse("timeline")?,
            flushed: row.parse("xlogpos")?,
        })
    }

    /// Where `timeline`, or one that it came from, left the timeline `left`: what was written on
    /// that one after is not part of its history. Absent where it did not come from there.
    ///
    /// # Errors
    /// As [`WireSession::execute`].
    pub async fn left_at(&mut self, timeline: u32, left: u32) -> Result<Option<Lsn>> {
        let row = self.one(&format!("TIMELINE_HISTORY {timeline}")).await?;
        Ok(switch_point(row.text("content")?, left))
    }

    /// Makes a permanent logical slot of the plugin pgoutput. Waits for transactions that are
    /// running. `failover` keeps it on standbys too (version 17).
    ///
    /// # Errors
    /// As [`WireSession::execute`].
    pub async fn create_slot(&mut self, name: &str, failover: bool) -> Result<NewSlot> {
        let options = match (self.wire_version().await?, failover) {
            (170_000.., true) => "(SNAPSHOT 'export', FAILOVER)",
            (150_000.., _) => "(SNAPSHOT 'export')",
            _ => "EXPORT_SNAPSHOT",
        };
        let name = identifier(name);
        let sql = format!("CREATE_REPLICATION_SLOT {name} LOGICAL pgoutput {options}");
        let row = self.one(&sql).await?;
        Ok(NewSlot {
            consistent_point: row.parse("consistent_point")?,
            snapshot: row.text("snapshot_name")?.to_owned(),
        })
    }

    /// Removes a slot.
    ///
    /// # Errors
    /// As [`WireSession::execute`].
    pub async fn drop_slot(&mut self, name: &str) -> Result<()> {
        self.wire.execute(&format!("DROP_REPLICATION_SLOT {}", identifier(name))).await
    }

    /// Begins to stream what was committed after `from`, or after the slot's own position
    /// where that is later. `options` are the plugin's.
    ///
    /// # Errors
    /// As [`WireSession::execute`].
    pub async fn start(
        mut self,
        slot: &str,
        from: Lsn,
        options: &[(&str, String)],
    ) -> Result<Replicated> {
        let option =
            |(name, value): &(&str, String)| format!("{} {}", identifier(name), literal(value));
        let options: Vec<String> = options.iter().map(option).collect();
        let sql = format!(
            "START_REPLICATION SLOT {} LOGICAL {from} ({})",
            identifier(slot),
            options.join(", ")
        );
        self.wire.begin(&sql).await?;
        match self.wire.message().await? {
            Message::CopyOutResponse(_) => {
                Ok(Replicated { wire: self.wire, message: Vec::new(), handed_out: false })
            }
            other => Err(self.wire.not_begun(other).await),
        }
    }

    /// Closes the connection.
    pub async fn close(&mut self) {
        self.wire.close().await;
    }

    async fn wire_version(&mut self) -> Result<u32> {
        let rows = self.wire.query("SHOW server_version_num").await?;
        only(&rows)?.parse("server_version_num")
    }

    async fn one(&mut self, command: &str) -> Result<Row> {
        let mut rows = self.wire.query(command).await?;
        only(&rows)?;
        Ok(rows.swap_remove(0))
    }
}

/// Where a timeline was left, by a history file: lines of a timeline, a position, and why, between
/// tabs. See `readTimeLineHistory` in the server's sources.
fn switch_point(history: &str, left: u32) -> Option<Lsn> {
    let mut lines = history.lines().map(|line| line.trim_start().split('\t'));
    lines.find_map(|mut fields| {
        let timeline: u32 = fields.next()?.trim().parse().ok()?;
        let lsn = fields.next()?.trim().parse().ok()?;
        (timeline == left).then_some(lsn)
    })
}

impl Replicated {
    /// The next message; absent when the server ends the stream. A call that is given up
    /// half way loses nothing.
    ///
    /// # Errors
    /// As [`WireSession::execute`].
    pub async fn next(&mut self) -> Result<Option<WalSent<'_>>> {
        if std::mem::take(&mut self.handed_out) {
            self.message.clear();
        }
        loop {
            let next = self.wire.line.inbox.next(Carrier::CopyData);
            match next.inspect_err(|_| self.wire.state = State::Lost)? {
                None => {
                    let filled = self.wire.line.fill().await;
                    filled.inspect_err(|_| self.wire.state = State::Lost)?;
                }
                Some(Item::Piece { range, ends, .. }) => {
                    if self.message.len() + range.len() > WAL_MESSAGE_BYTES_MAX {
                        self.wire.state = State::Lost;
                        let message = "server sent a change that is longer than any row";
                        return Err(Error::new(ErrorKind::Connection, message));
                    }
                    self.message.extend_from_slice(&self.wire.line.inbox.bytes()[range]);
                    if ends {
                        break;
                    }
                }
                Some(Item::Message(message)) => match answer(message) {
                    None => {}
                    Some(Message::CopyDone | Message::CommandComplete(_)) => return Ok(None),
                    Some(Message::ErrorResponse(body)) => {
                        let error = ServerError::from_fields(body.fields());
                        return Err(self.wire.fail(error).await);
                    }
                    Some(_) => return Err(self.wire.out_of_step()),
                },
            }
        }
        self.handed_out = true;
        parse(&self.message).map(Some)
    }

    /// Tells the server how far we are: `received` is written nowhere yet, what is before
    /// `durable` it may forget. The time is microseconds since 1970 UTC. With `reply` it answers
    /// how far it is.
    ///
    /// # Errors
    /// [`ErrorKind::Connection`] when the connection is lost.
    pub async fn confirm(
        &mut self,
        received: Lsn,
        durable: Lsn,
        now_micros: i64,
        reply: bool,
    ) -> Result<()> {
        let mut status = vec![b'r'];
        for lsn in [received, durable, durable] {
            status.extend(lsn.0.to_be_bytes());
        }
        status.extend((now_micros - POSTGRES_EPOCH_MICROS).to_be_bytes());
        status.push(u8::from(reply));
        let mut message = BytesMut::new();
        let data = frontend::CopyData::new(&status[..]).map_err(|error| {
            Error::new(ErrorKind::Internal, "status cannot be sent").because(error)
        })?;
        data.write(&mut message);
        let sent = self.wire.line.send(&message).await;
        sent.map_err(|error| self.wire.lost(error))
    }

    /// Ends the stream and the session.
    pub async fn close(mut self) {
        let mut message = BytesMut::new();
        frontend::copy_done(&mut message);
        // Whatever comes meanwhile was not confirmed and comes again.
        if self.wire.line.send(&message).await.is_ok() {
            self.wire.state = State::Idle;
        }
        self.wire.close().await;
    }
}

/// Reads the header of a message of the stream.
fn parse(message: &[u8]) -> Result<WalSent<'_>> {
    let nonsense = || Error::new(ErrorKind::Connection, "server sent WAL that makes no sense");
    let u64_at = |at: usize| -> Result<u64> {
        let bytes = message.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u64::from_be_bytes).ok_or_else(nonsense)
    };
    match message.first() {
        Some(b'w') => {
            let data = message.get(25..).ok_or_else(nonsense)?;
            Ok(WalSent::Data { start: Lsn(u64_at(1)?), data })
        }
        Some(b'k') => {
            let reply = *message.get(17).ok_or_else(nonsense)? != 0;
            Ok(WalSent::Keepalive { end: Lsn(u64_at(1)?), reply })
        }
        _ => Err(nonsense()),
    }
}
