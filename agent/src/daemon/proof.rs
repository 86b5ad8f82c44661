//! Before anybody is served, the decision shows that it refuses what it must.
//!
//! 1. [`Proof::test`] asks it at the start, under the stored policy.
//! 2. As long as it fails, [`serve`] refuses every connection; the agent stays up, raises an alarm and keeps its link. It is asked
//!    again with each policy that comes into force, so that a device is not lost for a flaw that one policy shows.
//! 3. With the proof, clients are served. There is no other way: [`tunnel::serve`] takes it as an argument, and nothing but the
//!    self-test makes one.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use postern_protocol::policy::{Proven, SelfTestFault};
use postern_transport::quic::Endpoint;

use crate::gate::{self, Gate};
use crate::report::SelfTestReport;
use crate::tunnel::{self, Context};

/// What the self-test has shown, for people.
#[derive(Debug, Default)]
pub(super) struct Proof(Mutex<SelfTestReport>);

impl Proof {
    /// Runs the self-test under the policy in force.
    pub(super) fn test(&self, gate: &Gate) -> Option<Proven> {
        self.note(gate::self_test(gate.policy().as_ref()), |fault| gate.clock().failed(fault))
    }

    fn note(
        &self,
        tested: Result<Proven, SelfTestFault>,
        alarm: impl FnOnce(SelfTestFault),
    ) -> Option<Proven> {
        let (report, proven) = match tested {
            Ok(proven) => {
                let refused = proven.refused();
                tracing::debug!(refused, "the self-test passed");
                (SelfTestReport { passed: true, refused, fault: None }, Some(proven))
            }
            Err(fault) => {
                tracing::error!(error = %fault, "nobody is served");
                alarm(fault);
                (SelfTestReport { passed: false, refused: 0, fault: Some(fault.to_string()) }, None)
            }
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = report;
        proven
    }

    /// What it has shown last.
    pub(super) fn report(&self) -> SelfTestReport {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The line for `systemctl status`.
    pub(super) fn words(&self) -> &'static str {
        if self.report().passed { "the gate stands" } else { "the self-test failed: nobody is served" }
    }

    /// Waits for a policy under which it passes.
    async fn passes(&self, gate: &Gate) -> Proven {
        let mut changes = gate.changes();
        loop {
            changes.mark_unchanged();
            if let Some(proven) = self.test(gate) {
                return proven;
            }
            if changes.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

/// Serves clients with the proof, and refuses them until there is one.
pub(super) async fn serve(
    endpoint: Endpoint,
    context: Arc<Context>,
    proof: Arc<Proof>,
    proven: Option<Proven>,
) {
    let gate = Arc::clone(&context.gate);
    let proven = match proven {
        Some(proven) => proven,
        None => refuse_until(&endpoint, proof.passes(&gate)).await,
    };
    tunnel::serve(endpoint, context, proven).await;
}

/// Refuses every attempt at a connection until there is a proof.
async fn refuse_until<T>(endpoint: &Endpoint, proof: impl Future<Output = T>) -> T {
    let mut proof = pin!(proof);
    loop {
        tokio::select! {
            biased;
            proven = &mut proof => return proven,
            // Dropping an attempt refuses it.
            Some(_attempt) = endpoint.accept() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use postern_protocol::policy::{Probe, Reason};
    use postern_protocol::trust::SecretKey;
    use postern_protocol::wire::registry::ALPNS_TUNNEL;
    use postern_transport::quic::{ConnectError, ConnectionEnd, Role, Settings};
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn a_decision_that_permits_what_it_must_refuse_gives_no_proof_raises_an_alarm_and_is_shown() {
        let fault = SelfTestFault::Permitted(Probe::Locked, Reason::SiteLocked);
        let (proof, mut raised) = (Proof::default(), None);
        assert!(proof.note(Err(fault), |fault| raised = Some(fault)).is_none());
        assert_eq!(raised, Some(fault));
        let said = Some(fault.to_string());
        assert_eq!(proof.report(), SelfTestReport { passed: false, refused: 0, fault: said });
        assert_eq!(proof.words(), "the self-test failed: nobody is served");
    }

    #[test]
    fn the_agent_s_own_decision_gives_a_proof() {
        let proof = Proof::default();
        assert!(proof.note(gate::self_test(None), |fault| panic!("{fault}")).is_some());
        assert_eq!(proof.report(), SelfTestReport { passed: true, refused: 25, fault: None });
        assert_eq!(proof.words(), "the gate stands");
    }

    #[tokio::test]
    async fn everybody_is_refused_until_there_is_a_proof() {
        let key = |seed| SecretKey::from_seed([seed; 32]).unwrap();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let alpns = vec![ALPNS_TUNNEL[0].to_vec()];
        let settings = Settings::session();
        let server = Endpoint::bind(any, &key(1), Role::Server { alpns }, &settings).unwrap();
        let client = Endpoint::bind(any, &key(2), Role::Client, &settings).unwrap();
        let (prove, proven) = oneshot::channel();
        let addr = server.local_addr().unwrap();
        let dialled = async {
            let refused = client.connect(addr, key(1).public(), ALPNS_TUNNEL, &settings).await.unwrap_err();
            assert_eq!(refused, ConnectError::Ended(ConnectionEnd::Refused));
            prove.send(()).unwrap();
        };
        let (proven, ()) = tokio::join!(refuse_until(&server, proven), dialled);
        assert_eq!(proven, Ok(()));
        let (dialled, served) =
            tokio::join!(client.connect(addr, key(1).public(), ALPNS_TUNNEL, &settings), async {
                server.accept().await.unwrap().handshake(settings.handshake).await
            });
        assert_eq!(dialled.unwrap().peer_key(), key(1).public());
        assert_eq!(served.unwrap().peer_key(), key(2).public());
    }
}
