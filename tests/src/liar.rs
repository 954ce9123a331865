//! A server that lies: stands between a client and a real server, and sends in place of what
//! that one said whatever a test thinks of.

use crate::Server;
use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A message of the server, on its way to the client.
#[derive(Debug, Clone, Copy)]
pub struct Heard<'a> {
    /// How many messages of this tag the server has sent before it, on all connections.
    pub number: usize,
    /// What kind of message it is.
    pub tag: u8,
    /// What it holds.
    pub body: &'a [u8],
}

/// What the client gets to hear in its place.
#[derive(Debug, Clone)]
pub enum Said {
    /// The truth.
    Truth,
    /// These bytes.
    Bytes(Vec<u8>),
    /// These bytes, over and over until the client goes away.
    Endless(Vec<u8>),
    /// These bytes, and then nothing ever again.
    Last(Vec<u8>),
}

/// A running liar. Connections that it has made outlive it, until either side leaves.
#[derive(Debug)]
pub struct Liar {
    port: u16,
}

impl Liar {
    /// Stands in front of `server` and says what `lie` makes of each message.
    ///
    /// # Panics
    /// When there is no port to listen on.
    pub fn before(
        server: &Server,
        lie: impl Fn(Heard<'_>) -> Said + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (port, to) = (listener.local_addr().expect("the port").port(), server.port());
        let lie = Arc::new(lie);
        let counts: Arc<[AtomicUsize; 256]> = Arc::new([const { AtomicUsize::new(0) }; 256]);
        std::thread::spawn(move || {
            // Whatever fails here, the client sees as a connection that is lost.
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                let (Ok(mut asking), Ok(mut asked)) = (client.try_clone(), server.try_clone())
                else {
                    continue;
                };
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut asking, &mut asked);
                    let _ = asked.shutdown(Shutdown::Both);
                });
                let (lie, counts) = (Arc::clone(&lie), Arc::clone(&counts));
                std::thread::spawn(move || {
                    let _ = answer(&server, &client, |tag, body| {
                        let number = counts[usize::from(tag)].fetch_add(1, Ordering::Relaxed);
                        lie(Heard { number, tag, body })
                    });
                    let _ = client.shutdown(Shutdown::Both);
                    let _ = server.shutdown(Shutdown::Both);
                });
            }
        });
        Self { port }
    }

    /// The connection URI of a database for the superuser, by way of the liar.
    #[must_use]
    pub fn uri(&self, database: &str) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }
}

fn answer(
    from: &TcpStream,
    mut to: &TcpStream,
    lie: impl Fn(u8, &[u8]) -> Said,
) -> std::io::Result<()> {
    let mut from = BufReader::new(from);
    loop {
        let mut header = [0; 5];
        from.read_exact(&mut header)?;
        let [tag, length @ ..] = header;
        let mut body = vec![0; (u32::from_be_bytes(length) as usize).saturating_sub(4)];
        from.read_exact(&mut body)?;
        match lie(tag, &body) {
            Said::Truth => to.write_all(&message(tag, &body))?,
            Said::Bytes(bytes) => to.write_all(&bytes)?,
            Said::Last(bytes) => return to.write_all(&bytes),
            Said::Endless(bytes) => {
                let many = bytes.repeat((1 << 16) / bytes.len().max(1) + 1);
                loop {
                    to.write_all(&many)?;
                }
            }
        }
    }
}

/// A message of the protocol.
///
/// # Panics
/// When it is too long to be one.
#[must_use]
pub fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("a message");
    [&[tag], &length.to_be_bytes()[..], body].concat()
}

/// A row of a query: fields are NULL or text.
///
/// # Panics
/// When it is too long to be one.
#[must_use]
pub fn data_row(fields: &[Option<Vec<u8>>]) -> Vec<u8> {
    let mut body = u16::try_from(fields.len()).expect("a row").to_be_bytes().to_vec();
    for field in fields {
        let length = field.as_ref().map_or(-1, |field| i32::try_from(field.len()).expect("short"));
        body.extend(length.to_be_bytes());
        body.extend(field.iter().flatten());
    }
    message(b'D', &body)
}

/// The fields of an honest server's row.
#[must_use]
pub fn fields(body: &[u8]) -> Vec<Option<Vec<u8>>> {
    let (_, mut rest) = body.split_at(2);
    let mut fields = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(i32::from_be_bytes(*length)).ok();
        let (field, after) = after.split_at(length.unwrap_or(0));
        fields.push(length.map(|_| field.to_vec()));
        rest = after;
    }
    fields
}
