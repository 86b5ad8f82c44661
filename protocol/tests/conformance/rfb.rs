//! The VNC gate: handshakes byte for byte, and streams against a slow reference.

mod handshake;
mod login;
mod mutants;
mod script;
mod stream;

use postern_protocol::gate::rfb::{Gate, Outcome};

use crate::probes::rfb::act;

/// A gate between two scripts. Each step says who speaks, what it says, and what that makes the gate say to the viewer
/// and to the machine.
pub(crate) struct Played {
    pub(crate) gate: Gate,
    to_viewer: Vec<u8>,
    to_server: Vec<u8>,
}

impl Played {
    pub(crate) fn new(gate: Gate) -> Self {
        let mut played = Self { gate, to_viewer: Vec::new(), to_server: Vec::new() };
        played.poll();
        assert_eq!(played.told(), (b"RFB 003.008\n".to_vec(), vec![]));
        played
    }

    /// The machine speaks.
    pub(crate) fn server(&mut self, bytes: &[u8]) -> &mut Self {
        let rest = self.gate.handle_server(bytes).to_vec();
        self.poll();
        self.to_viewer.extend(rest);
        self
    }

    /// The viewer speaks.
    pub(crate) fn viewer(&mut self, bytes: &[u8]) -> &mut Self {
        self.to_server.extend(act(&mut self.gate, bytes));
        self.poll();
        self
    }

    /// What viewer and machine were told since this was last asked.
    pub(crate) fn told(&mut self) -> (Vec<u8>, Vec<u8>) {
        self.poll();
        (std::mem::take(&mut self.to_viewer), std::mem::take(&mut self.to_server))
    }

    /// Demands that exactly this was said since the last question.
    pub(crate) fn says(&mut self, to_viewer: &[u8], to_server: &[u8]) -> &mut Self {
        let (viewer, server) = self.told();
        assert_eq!(viewer.escape_ascii().to_string(), to_viewer.escape_ascii().to_string(), "to the viewer");
        assert_eq!(server.escape_ascii().to_string(), to_server.escape_ascii().to_string(), "to the machine");
        self
    }

    pub(crate) fn outcome(&self) -> Outcome {
        self.gate.outcome().clone()
    }

    fn poll(&mut self) {
        self.to_viewer.extend_from_slice(self.gate.poll_to_viewer().unwrap_or_default());
        self.to_server.extend_from_slice(self.gate.poll_to_server().unwrap_or_default());
    }
}

/// Inputs of the fuzz targets that reach every part of the gate.
pub(crate) fn seeds() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let everything = stream::everything().concat();
    let client =
        |modes: u8, segment: u8, offset: u8, stream: &[u8]| [&[modes, segment, offset], stream].concat();
    let mut seeds = vec![
        ("rfb_client", "full-whole", client(0, 0, 0, &everything)),
        ("rfb_client", "view-only-by-byte", client(8, 1, 0, &everything)),
        ("rfb_client", "narrowed-while-pressed", client(6, 5, 70, &everything)),
        ("rfb_client", "widened-in-the-middle", client(2, 7, 100, &everything)),
        ("rfb_client", "qemu-key", client(8, 0, 0, &[255, 0, 0, 1, 0, 0, 0, 97, 0, 0, 0, 30])),
        ("rfb_client", "xvp-reboot", client(8, 3, 0, &[250, 0, 1, 4])),
        (
            "rfb_client",
            "extended-clipboard",
            client(0, 1, 0, &[6, 0, 0, 0, 0xff, 0xff, 0xff, 0xf8, 1, 0, 0, 1]),
        ),
        (
            "rfb_client",
            "cut-text-of-2-gib",
            client(0, 9, 0, &[6, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 4, 1, 0, 0]),
        ),
        ("rfb_client", "257-encodings", client(0, 2, 0, &[2, 0, 1, 1, 0, 0, 0, 0])),
        ("rfb_client", "hundred-keys", client(6, 0, 255, &stream::hundred_keys())),
    ];
    for (name, choice, chunks) in script::conversations() {
        let mut bytes = vec![choice];
        for (side, chunk) in chunks {
            bytes.push(side | u8::try_from(chunk.len()).unwrap());
            bytes.extend(chunk);
        }
        seeds.push(("rfb_handshake", name, bytes));
    }
    seeds
}
