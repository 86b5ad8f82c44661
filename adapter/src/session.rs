//! One client, from its first question until it hangs up.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

use ipnet::IpNet;

use crate::check;
use crate::device::{Adapter, Failure};
use crate::host::Host;
use crate::message::{Answer, Ask, Step, VERSION};
use crate::passing::{Inbox, InboxFault, send};

/// Serves a client. Its adapter is its own: it ends when the client ends, and only its routes are changed from here.
///
/// # Errors
/// The socket's, and [`InboxFault`] for what is no question.
pub(crate) fn serve(client: &UnixStream) -> Result<(), InboxFault> {
    let mut inbox = Inbox::default();
    let mut adapter: Option<Adapter> = None;
    loop {
        let Some(ask) = inbox.take::<Ask>()? else {
            match inbox.fill(client) {
                Ok(()) => continue,
                Err(InboxFault::Ended) => return Ok(()),
                Err(fault) => return Err(fault),
            }
        };
        match (ask, &mut adapter) {
            (Ask::Create { version, .. }, None) if version != VERSION => {
                send(client, &Answer::OtherVersion { version: VERSION }, None)?;
            }
            (Ask::Create { addresses, routes, plain, .. }, place @ None) => {
                match create(&addresses, &routes, plain) {
                    Ok((made, file)) => {
                        send(client, &Answer::Created { name: made.name.clone() }, Some(file.as_fd()))?;
                        *place = Some(made);
                    }
                    Err(answer) => send(client, &answer, None)?,
                }
            }
            (Ask::Routes { routes }, Some(adapter)) => {
                let answer = change(adapter, &routes).map_or_else(|answer| answer, |()| Answer::Done);
                send(client, &answer, None)?;
            }
            (Ask::Create { .. }, Some(_)) | (Ask::Routes { .. }, None) => {
                send(client, &Answer::Unexpected, None)?;
            }
        }
    }
}

type Made = (Adapter, OwnedFd);

fn create(addresses: &[IpAddr], routes: &[IpNet], plain: bool) -> Result<Made, Answer> {
    addresses.iter().try_for_each(|address| check::address(*address)).map_err(refused)?;
    let has_two = |v4| addresses.iter().filter(|address| address.is_ipv4() == v4).count() > 1;
    if has_two(true) || has_two(false) {
        return Err(Answer::Unexpected);
    }
    judge(routes, None)?;
    let (mut adapter, file) = Adapter::create(addresses, plain).map_err(failed)?;
    adapter.route(routes).map_err(failed)?;
    Ok((adapter, file))
}

fn change(adapter: &mut Adapter, routes: &[IpNet]) -> Result<(), Answer> {
    judge(routes, Some(&adapter.name))?;
    adapter.route(routes).map_err(failed)
}

fn judge(routes: &[IpNet], own: Option<&str>) -> Result<(), Answer> {
    let host = Host::read(own).map_err(|error| failed((Step::Look, error)))?;
    check::routes(routes, &host).map_err(refused)
}

const fn refused(fault: check::Fault) -> Answer {
    Answer::Refused { fault }
}

fn failed((step, error): Failure) -> Answer {
    Answer::Failed { step, errno: errno(&error) }
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::check::Fault;

    /// What a client hears that asks these questions, none of which may make anything.
    fn heard(questions: &[Ask]) -> Vec<Answer> {
        let (client, program) = UnixStream::pair().unwrap();
        let serving = std::thread::spawn(move || serve(&program).unwrap());
        let mut inbox = Inbox::default();
        let mut answers = Vec::new();
        for question in questions {
            send(&client, question, None).unwrap();
            answers.push(loop {
                match inbox.take().unwrap() {
                    Some(answer) => break answer,
                    None => inbox.fill(&client).unwrap(),
                }
            });
            assert!(inbox.take_passed().is_none(), "no adapter");
        }
        drop(client);
        serving.join().unwrap();
        answers
    }

    fn create(addresses: &[&str], routes: &[&str]) -> Ask {
        Ask::Create {
            version: VERSION,
            addresses: addresses.iter().map(|ip| ip.parse().unwrap()).collect(),
            routes: routes.iter().map(|net| net.parse().unwrap()).collect(),
            plain: false,
        }
    }

    #[test]
    fn who_asks_for_what_is_others_gets_nothing() {
        let refused = |fault| Answer::Refused { fault };
        let (all, public) = ("0.0.0.0/0".parse().unwrap(), "8.8.8.8/32".parse().unwrap());
        let router = "192.168.0.1".parse().unwrap();
        let questions = [
            create(&["100.127.0.1"], &["0.0.0.0/0"]),
            create(&["100.127.0.1"], &["10.255.7.0/24", "8.8.8.8/32"]),
            create(&["192.168.0.1"], &["10.255.7.0/24"]),
            create(&["100.127.0.1", "100.127.0.2"], &["10.255.7.0/24"]),
        ];
        let answers = [
            refused(Fault::NotPrivate(all)),
            refused(Fault::NotPrivate(public)),
            refused(Fault::Address(router)),
            Answer::Unexpected,
        ];
        assert_eq!(heard(&questions), answers);
    }

    #[test]
    fn routes_without_an_adapter_and_other_versions_are_refused() {
        let routes = Ask::Routes { routes: vec!["10.255.7.0/24".parse().unwrap()] };
        let newer =
            Ask::Create { version: VERSION + 1, addresses: Vec::new(), routes: Vec::new(), plain: false };
        assert_eq!(heard(&[routes, newer]), [Answer::Unexpected, Answer::OtherVersion { version: VERSION }]);
    }

    #[test]
    fn what_is_no_question_ends_the_client() {
        let (mut client, program) = UnixStream::pair().unwrap();
        client.write_all(b"{\"ask\":\"delete\",\"route\":\"0.0.0.0/0\"}\n").unwrap();
        assert!(matches!(serve(&program), Err(InboxFault::Malformed)));
    }
}
