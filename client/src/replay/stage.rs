//! What was on the machine's screen at one moment of a recording.

use postern_protocol::policy::Mode;
use postern_protocol::recording::What;

use super::decoder::Decoder;
use super::fault::Fault;
use super::picture::Picture;

/// A screen that events are played on.
#[derive(Debug, Default)]
pub(super) struct Stage {
    decoder: Option<Decoder>,
    name: String,
    mode: Option<Mode>,
}

impl Stage {
    /// Plays one event.
    pub(super) fn play(&mut self, what: What) -> Result<(), Fault> {
        match what {
            What::Screen(screen) => {
                self.decoder = Some(Decoder::new(&screen)?);
                self.name = screen.name.as_str().to_owned();
            }
            What::Shown(bytes) => self.decoder()?.handle_bytes(&bytes)?,
            What::Format(format) => self.decoder()?.handle_format(format),
            What::Mode(mode) => self.mode = Some(mode),
            What::Asked { .. } | What::Answered { .. } => return Err(Fault::Request),
        }
        Ok(())
    }

    /// The picture, once the screen is known.
    pub(super) fn picture(&self) -> Option<&Picture> {
        self.decoder.as_ref().map(Decoder::picture)
    }

    pub(super) fn picture_mut(&mut self) -> Option<&mut Picture> {
        self.decoder.as_mut().map(Decoder::picture_mut)
    }

    /// The screen's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What the viewer might do.
    pub(super) const fn mode(&self) -> Option<Mode> {
        self.mode
    }

    fn decoder(&mut self) -> Result<&mut Decoder, Fault> {
        self.decoder.as_mut().ok_or(Fault::NoScreen)
    }
}
