//! The bytes' way to the server: TCP, Unix socket, or TLS over TCP, as one stream type.
//! Opening sockets only; who asks for TLS, and logging in, is one level up.

use super::settings::{Address, Host, SOCKET_DIRECTORIES};
use crate::{Error, ErrorKind, Result};
use rustix::io::ioctl_fionread;
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// Quiet time before the system probes a TCP connection. Firewalls forget idle connections
/// after minutes, and the building of an index is idle for hours.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);

/// Time between probes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 32;

/// How often the processor is given away before a read.
const YIELDS_MAX: usize = 20;

/// An open connection, before or after TLS.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

/// One thing to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    Ip(SocketAddr),
    Socket(PathBuf),
}

/// The endpoints of a host, in the order in which they should be tried, each with the host
/// narrowed to it.
///
/// # Errors
/// [`ErrorKind::Connection`] when the name has no address.
pub(super) async fn endpoints(host: &Host) -> Result<Vec<(Endpoint, Host)>> {
    let port = host.port;
    let found = match &host.address {
        Address::Unix(directory) => vec![at_socket(directory, port)],
        Address::DefaultUnix => {
            let all = SOCKET_DIRECTORIES.iter().map(Path::new).map(|path| at_socket(path, port));
            // All of them when none is there, so that the error names them.
            let (there, missing): (Vec<_>, Vec<_>) = all.partition(
                |(endpoint, _)| matches!(endpoint, Endpoint::Socket(path) if path.exists()),
            );
            if there.is_empty() { missing } else { there }
        }
        Address::Tcp { name, ip: Some(ip) } => vec![at_ip(name, *ip, port)],
        Address::Tcp { name, ip: None } => {
            let addresses =
                tokio::net::lookup_host((name.as_str(), port)).await.map_err(|error| {
                    Error::new(ErrorKind::Connection, format!("could not find host \"{name}\""))
                        .because(error)
                })?;
            addresses.take(ADDRESSES_MAX).map(|at| at_ip(name, at.ip(), port)).collect()
        }
    };
    Ok(found)
}

fn at_socket(directory: &Path, port: u16) -> (Endpoint, Host) {
    let host = Host { address: Address::Unix(directory.to_owned()), port };
    (Endpoint::Socket(directory.join(format!(".s.PGSQL.{port}"))), host)
}

fn at_ip(name: &str, ip: IpAddr, port: u16) -> (Endpoint, Host) {
    let host = Host { address: Address::Tcp { name: name.to_owned(), ip: Some(ip) }, port };
    (Endpoint::Ip(SocketAddr::new(ip, port)), host)
}

/// Opens a socket.
///
/// # Errors
/// Whatever the system says.
pub(super) async fn open(endpoint: &Endpoint) -> io::Result<Stream> {
    match endpoint {
        Endpoint::Socket(path) => Ok(Stream::Unix(UnixStream::connect(path).await?)),
        Endpoint::Ip(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let keepalive =
                TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
            SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
            Ok(Stream::Tcp(stream))
        }
    }
}

impl Stream {
    /// Has the runtime that this is called in wait for its bytes, in place of the one it was opened in.
    ///
    /// # Errors
    /// Whatever the system says.
    pub(super) fn move_here(&mut self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => *stream = tcp_here(stream)?,
            Stream::Tls(stream) => {
                let stream = stream.get_mut().0;
                *stream = tcp_here(stream)?;
            }
            Stream::Unix(stream) => {
                let again = SockRef::from(&*stream).try_clone()?;
                *stream = UnixStream::from_std(again.into())?;
            }
        }
        Ok(())
    }

    /// Gives the processor away as long as that brings more bytes, up to `enough` of them. A server
    /// on this machine sends 8 KiB at a time: to sleep and be woken for each costs both sides more
    /// than the bytes do. Where nothing comes meanwhile it returns at once.
    pub(super) fn gather(&self, enough: u64) {
        let mut before = None;
        for _ in 0..YIELDS_MAX {
            let waiting = match self {
                Stream::Tcp(stream) => ioctl_fionread(stream),
                Stream::Unix(stream) => ioctl_fionread(stream),
                Stream::Tls(stream) => ioctl_fionread(stream.get_ref().0),
            };
            // Who cannot be asked is read from as he is.
            let Ok(waiting) = waiting else { return };
            if waiting >= enough || before == Some(waiting) {
                return;
            }
            before = Some(waiting);
            std::thread::yield_now();
        }
    }
}

/// The same connection, registered with the runtime that this is called in.
fn tcp_here(stream: &TcpStream) -> io::Result<TcpStream> {
    TcpStream::from_std(SockRef::from(stream).try_clone()?.into())
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
