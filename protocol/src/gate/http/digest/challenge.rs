//! Reads challenges (RFC 9110, section 11.6.1): lists of lists, both with commas between their members.

use crate::gate::http::strict::is_token;

/// A challenge as it stands in a header.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Raw<'a> {
    pub(super) scheme: &'a [u8],
    /// Names with values; of quoted ones what stands between the quotes.
    pub(super) parameters: Vec<Parameter<'a>>,
}

/// A name with its value.
pub(super) type Parameter<'a> = (&'a [u8], &'a [u8]);

/// Every challenge of one header, up to the first that cannot be read.
pub(super) fn all(value: &[u8]) -> Vec<Raw<'_>> {
    let (mut reader, mut all) = (Reader::new(value), Vec::new());
    while let Some(scheme) = reader.next_scheme() {
        reader.skip_spaces();
        let Some(parameters) = reader.parameters() else { break };
        all.push(Raw { scheme, parameters });
    }
    all
}

/// The value of a parameter.
pub(super) fn parameter<'a>(parameters: &[Parameter<'a>], name: &[u8]) -> Option<&'a [u8]> {
    parameters.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
}

/// What is left of a header.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) const fn new(value: &'a [u8]) -> Self {
        Self(value)
    }

    /// Parameters up to the end or to the scheme of another challenge. None where they cannot be read, or one is there twice.
    pub(super) fn parameters(&mut self) -> Option<Vec<Parameter<'a>>> {
        let mut parameters = Vec::new();
        loop {
            let before = *self;
            self.skip_commas();
            if self.0.is_empty() {
                return Some(parameters);
            }
            let name = self.token()?;
            self.skip_spaces();
            if !self.skip(b'=') {
                // A name without a value is the scheme of another challenge.
                *self = before;
                return Some(parameters);
            }
            self.skip_spaces();
            let value = if self.skip(b'"') { self.quoted()? } else { self.token()? };
            if parameters.len() == PARAMETERS || parameter(&parameters, name).is_some() {
                return None;
            }
            parameters.push((name, value));
            self.skip_spaces();
            if !self.0.is_empty() && self.0.first() != Some(&b',') {
                return None;
            }
        }
    }

    fn next_scheme(&mut self) -> Option<&'a [u8]> {
        self.skip_commas();
        self.token()
    }

    fn token(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|byte| !is_token(*byte)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at_checked(end)?;
        self.0 = rest;
        (!token.is_empty()).then_some(token)
    }

    /// What stands before the closing quote, which is taken too.
    fn quoted(&mut self) -> Option<&'a [u8]> {
        let mut is_escaped = false;
        let end = self.0.iter().position(|byte| {
            let ends = *byte == b'"' && !is_escaped;
            is_escaped = *byte == b'\\' && !is_escaped;
            ends
        })?;
        let (text, rest) = self.0.split_at_checked(end)?;
        self.0 = rest.split_first()?.1;
        Some(text)
    }

    fn skip(&mut self, byte: u8) -> bool {
        let rest = self.0.strip_prefix(&[byte]);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn skip_spaces(&mut self) {
        self.0 = self.0.trim_ascii_start();
    }

    fn skip_commas(&mut self) {
        self.skip_spaces();
        while self.skip(b',') {
            self.skip_spaces();
        }
    }
}

/// Parameters of one challenge; RFC 7616 knows nine.
const PARAMETERS: usize = 16;
