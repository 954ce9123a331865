//! The login of a wire session: startup message, proof of the password, parameters.
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP>

use super::Line;
use super::inbox::{Carrier, Item};
use crate::postgres::cancel::BackendKey;
use crate::postgres::connect::{Greeting, Login};
use crate::postgres::settings::ChannelBinding;
use crate::postgres::socket::Stream;
use crate::postgres::{SESSION_ENCODING, ServerError};
use crate::{Error, ErrorKind, Result};
use bytes::BytesMut;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{
    self, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256,
};
use postgres_protocol::message::backend::{AuthenticationSaslBody, Message};
use postgres_protocol::message::frontend;
use std::io;
use tokio_postgres::fallible_iterator::FallibleIterator;

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// SQL.
    Sql,
    /// SQL and commands of the replication protocol, in one database.
    /// <https://www.postgresql.org/docs/current/protocol-replication.html>
    Replication,
}

/// Logs in.
///
/// # Errors
/// [`ErrorKind::Connection`] when the connection breaks, [`ErrorKind::Authentication`] and
/// others as the server says.
pub(super) async fn log_in(
    stream: Stream,
    login: Login,
    purpose: Purpose,
) -> Result<((Line, Option<BackendKey>), Greeting)> {
    let mut line = Line::new(stream);
    let mut parameters = vec![
        ("client_encoding", SESSION_ENCODING),
        ("user", login.user.as_str()),
        ("database", login.database.as_str()),
        ("application_name", login.application_name.as_str()),
    ];
    if purpose == Purpose::Replication {
        parameters.push(("replication", "database"));
    }
    parameters.extend(login.options.as_deref().map(|options| ("options", options)));
    line.send_built(|buffer| frontend::startup_message(parameters, buffer)).await?;
    authenticate(&mut line, &login).await?;
    let (key, greeting) = greeting(&mut line).await?;
    Ok(((line, key), greeting))
}

async fn authenticate(line: &mut Line, login: &Login) -> Result<()> {
    let asked = line.login_message().await?;
    let plus = matches!(asked, Message::AuthenticationSasl(_));
    if login.channel_binding == ChannelBinding::Require && !plus {
        return Err(no_channel_binding());
    }
    match asked {
        Message::AuthenticationOk => return Ok(()),
        Message::AuthenticationCleartextPassword => {
            let password = password(login)?;
            line.send_built(|buffer| frontend::password_message(password, buffer)).await?;
        }
        Message::AuthenticationMd5Password(body) => {
            let hash = md5_hash(login.user.as_bytes(), password(login)?, body.salt());
            line.send_built(|buffer| frontend::password_message(hash.as_bytes(), buffer)).await?;
        }
        Message::AuthenticationSasl(body) => scram(line, login, &body).await?,
        Message::AuthenticationGss
        | Message::AuthenticationSspi
        | Message::AuthenticationKerberosV5
        | Message::AuthenticationScmCredential => {
            return Err(refused("server wants a kind of authentication that is not supported")
                .hint("Let the role log in with a password (scram-sha-256) or a certificate."));
        }
        _ => return Err(out_of_step()),
    }
    match line.login_message().await? {
        Message::AuthenticationOk => Ok(()),
        _ => Err(out_of_step()),
    }
}

/// SCRAM-SHA-256 of RFC 7677, bound to the TLS connection where both sides can.
async fn scram(line: &mut Line, login: &Login, body: &AuthenticationSaslBody) -> Result<()> {
    let (mechanism, binding) = mechanism(login, body)?;
    let mut scram = ScramSha256::new(password(login)?, binding);
    line.send_built(|buffer| frontend::sasl_initial_response(mechanism, scram.message(), buffer))
        .await?;
    let Message::AuthenticationSaslContinue(body) = line.login_message().await? else {
        return Err(out_of_step());
    };
    scram.update(body.data()).map_err(not_proven)?;
    line.send_built(|buffer| frontend::sasl_response(scram.message(), buffer)).await?;
    let Message::AuthenticationSaslFinal(body) = line.login_message().await? else {
        return Err(out_of_step());
    };
    // The server proves that it knows the password too.
    scram.finish(body.data()).map_err(not_proven)
}

fn mechanism(
    login: &Login,
    body: &AuthenticationSaslBody,
) -> Result<(&'static str, sasl::ChannelBinding)> {
    let offered: Vec<&str> = body.mechanisms().collect().map_err(|error| {
        Error::new(ErrorKind::Connection, "server's offer of authentication makes no sense")
            .because(error)
    })?;
    let end_point = match login.channel_binding {
        ChannelBinding::Disable => None,
        _ => login.end_point.clone(),
    };
    let plus = offered.contains(&SCRAM_SHA_256_PLUS);
    if let Some(end_point) = end_point.clone().filter(|_| plus) {
        return Ok((SCRAM_SHA_256_PLUS, sasl::ChannelBinding::tls_server_end_point(end_point)));
    }
    if login.channel_binding == ChannelBinding::Require {
        return Err(no_channel_binding());
    }
    if !offered.contains(&SCRAM_SHA_256) {
        return Err(refused("server offers no kind of authentication that is supported"));
    }
    // Saying that we could have bound lets the server notice an attacker who hid its offer.
    let binding = match end_point {
        Some(_) => sasl::ChannelBinding::unrequested(),
        None => sasl::ChannelBinding::unsupported(),
    };
    Ok((SCRAM_SHA_256, binding))
}

/// Reads what the server says of itself, until it waits for a command.
async fn greeting(line: &mut Line) -> Result<(Option<BackendKey>, Greeting)> {
    let mut key = None;
    let mut greeting = Greeting::default();
    loop {
        match line.login_message().await? {
            Message::BackendKeyData(body) => {
                key = Some(BackendKey { process: body.process_id(), secret: body.secret_key() });
            }
            Message::ParameterStatus(body) => {
                let on = matches!(body.value(), Ok("on"));
                match body.name() {
                    Ok("in_hot_standby") => greeting.in_hot_standby = on,
                    Ok("default_transaction_read_only") => {
                        greeting.default_transaction_read_only = on;
                    }
                    _ => {}
                }
            }
            Message::ReadyForQuery(_) => return Ok((key, greeting)),
            _ => return Err(out_of_step()),
        }
    }
}

impl Line {
    /// Builds a message and sends it.
    async fn send_built(
        &mut self,
        build: impl FnOnce(&mut BytesMut) -> io::Result<()>,
    ) -> Result<()> {
        let mut buffer = BytesMut::new();
        build(&mut buffer).map_err(|error| {
            Error::new(ErrorKind::Usage, "user, database or password holds a NUL").because(error)
        })?;
        let sent = self.send(&buffer).await;
        sent.map_err(|error| super::connection_lost().because(error))
    }

    /// The next message; a refusal is an error, a notice goes to the log.
    async fn login_message(&mut self) -> Result<Message> {
        loop {
            match self.inbox.next(Carrier::CopyData)? {
                None => self.fill().await?,
                Some(Item::Message(Message::ErrorResponse(body))) => {
                    let refusal = ServerError::from_fields(body.fields());
                    return Err(refusal.into_error("server refused the login"));
                }
                Some(Item::Message(Message::NoticeResponse(body))) => {
                    ServerError::from_fields(body.fields()).log_notice();
                }
                Some(Item::Message(message)) => return Ok(message),
                Some(Item::Piece { .. }) => return Err(out_of_step()),
            }
        }
    }
}

fn password(login: &Login) -> Result<&[u8]> {
    let none = || refused("server wants a password and none is given");
    login.password.as_ref().map(|password| password.reveal().as_bytes()).ok_or_else(none)
}

fn not_proven(error: io::Error) -> Error {
    refused("server and client do not agree on the password").because(error)
}

fn no_channel_binding() -> Error {
    refused("server did not offer channel binding, which channel_binding=require asks for")
}

fn refused(message: &str) -> Error {
    Error::new(ErrorKind::Authentication, message)
}

fn out_of_step() -> Error {
    Error::new(ErrorKind::Connection, "server answered the login with something else")
}
