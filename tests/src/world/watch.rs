//! A program that watches: asks for metrics and for health as Prometheus and a load balancer do, and takes nothing that
//! the exposition format (0.0.4) does not allow.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::mishap::Mishap;
use super::probe::within;

/// Where a process answers those who watch.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    /// The address of its listener.
    pub at: SocketAddr,
}

/// All samples of one moment, by their name with its labels, as they were written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Readings(BTreeMap<String, f64>);

impl Watch {
    /// Finds where a process says that it is watched.
    ///
    /// # Errors
    /// When the line says nothing of it.
    pub fn in_line(line: &str) -> Result<Self, Mishap> {
        let behind = line.split_once("metrics on http://").map(|(_, behind)| behind);
        let at = behind.and_then(|at| at.split([',', ' ']).next()?.trim().parse().ok());
        let at = at.ok_or_else(|| Mishap::unexpected("where the metrics are", line, "an address"))?;
        Ok(Self { at })
    }

    /// Asks for a page; its status and text.
    ///
    /// # Errors
    /// When nobody answers in time, or with something else than HTTP.
    pub async fn page(&self, path: &str) -> Result<(u16, String), Mishap> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.at);
        within("an answer to somebody who watches", async {
            let mut stream = TcpStream::connect(self.at).await?;
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            let wrong = || Mishap::unexpected("the answer", &answer, "HTTP");
            let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(wrong)?;
            let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(wrong)?;
            let is_text = head.to_ascii_lowercase().contains("content-type: text/plain");
            if !is_text {
                return Err(wrong());
            }
            Ok((status, body.to_owned()))
        })
        .await
    }

    /// Reads all metrics.
    ///
    /// # Errors
    /// When they do not come, or are not in the format.
    pub async fn read(&self) -> Result<Readings, Mishap> {
        let (status, text) = self.page("/metrics").await?;
        if status != 200 {
            return Err(Mishap::unexpected("the status of the metrics", status, "200"));
        }
        Readings::parse(&text)
    }
}

impl Readings {
    /// Reads a page, and refuses what the format does not allow: a family that is described twice, whose samples are not together or
    /// come before its type, a sample twice, a name or value that is none, a histogram whose buckets do not add up.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn parse(text: &str) -> Result<Self, Mishap> {
        let mut page = Page::default();
        if !text.ends_with('\n') {
            return Err(Mishap::unexpected("the last line", "no end", "one"));
        }
        for line in text.lines() {
            page.take(line).map_err(|what| Mishap::unexpected("a line of the metrics", line, what))?;
        }
        page.add_up().map_err(|what| Mishap::unexpected("the histograms", text, what))?;
        Ok(Self(page.samples))
    }

    /// One sample, such as `postern_hub_links`; none where it was not said.
    #[must_use]
    pub fn find(&self, sample: &str) -> Option<f64> {
        self.0.get(sample).copied()
    }

    /// The same, where zero may not be said.
    #[must_use]
    pub fn value(&self, sample: &str) -> f64 {
        self.find(sample).unwrap_or(0.0)
    }

    /// Every sample.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(sample, value)| (sample.as_str(), *value))
    }
}

/// What was read until now.
#[derive(Debug, Default)]
struct Page {
    /// Every family that was described, by its name.
    types: BTreeMap<String, String>,
    helped: BTreeSet<String>,
    /// The family whose lines come now.
    present: String,
    samples: BTreeMap<String, f64>,
}

impl Page {
    fn take(&mut self, line: &str) -> Result<(), &'static str> {
        if let Some(comment) = line.strip_prefix("# ") {
            let (what, rest) = comment.split_once(' ').ok_or("a whole comment")?;
            let (name, text) = rest.split_once(' ').ok_or("a name and a text")?;
            if !is_name(name) {
                return Err("a name of a metric");
            }
            return match what {
                "HELP" if self.helped.insert(name.to_owned()) => {
                    name.clone_into(&mut self.present);
                    Ok(())
                }
                "TYPE" if ["counter", "gauge", "histogram", "summary", "untyped"].contains(&text) => {
                    name.clone_into(&mut self.present);
                    let before = self.types.insert(name.to_owned(), text.to_owned());
                    if before.is_none() { Ok(()) } else { Err("one type for each family") }
                }
                _ => Err("HELP or TYPE, once for each family"),
            };
        }
        let (sample, value) = line.rsplit_once(' ').ok_or("a sample and a value")?;
        let value: f64 = value.parse().map_err(|_| "a number")?;
        let name = sample.split('{').next().unwrap_or(sample);
        let kind = self.types.get(&self.present).ok_or("a type before the first sample")?.as_str();
        let belongs = match kind {
            "histogram" => ["_bucket", "_sum", "_count"]
                .iter()
                .any(|ending| name.strip_suffix(ending) == Some(self.present.as_str())),
            _ => name == self.present,
        };
        if !belongs || !is_name(name) {
            return Err("a sample of the family that was described last");
        }
        if kind == "counter" && (!value.is_finite() || value < 0.0) {
            return Err("a counter that only grows");
        }
        check_labels(sample.get(name.len()..).unwrap_or_default())?;
        if self.samples.insert(sample.to_owned(), value).is_some() {
            return Err("each sample once");
        }
        Ok(())
    }

    /// Buckets are cumulative, in order, and end with the count.
    fn add_up(&self) -> Result<(), &'static str> {
        for (family, _) in self.types.iter().filter(|(_, kind)| kind.as_str() == "histogram") {
            let mut series: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
            let prefix = format!("{family}_bucket{{");
            for (sample, value) in &self.samples {
                let Some(labels) = sample.strip_prefix(&prefix) else { continue };
                let (before, le) = labels.split_once("le=\"").ok_or("a bound for each bucket")?;
                let (le, _) = le.split_once('"').ok_or("a bound in quotes")?;
                let le = if le == "+Inf" { f64::INFINITY } else { le.parse().map_err(|_| "a bound")? };
                series.entry(before.trim_end_matches(',').to_owned()).or_default().push((le, *value));
            }
            for (labels, mut buckets) in series {
                buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
                if !buckets.is_sorted_by(|one, other| one.1 <= other.1) {
                    return Err("buckets that are cumulative");
                }
                let of = |ending: &str| {
                    let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
                    self.samples.get(&format!("{family}{ending}{labels}")).copied()
                };
                let last = buckets.last().filter(|(le, _)| le.is_infinite()).map(|(_, count)| *count);
                if last.is_none() || last != of("_count") || of("_sum").is_none() {
                    return Err("a last bucket with all, a count and a sum");
                }
            }
        }
        Ok(())
    }
}

/// Labels as the format writes them, with nothing behind them.
fn check_labels(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Ok(());
    }
    let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).ok_or("labels in braces")?;
    let mut seen = BTreeSet::new();
    for label in inner.split(',') {
        let (name, value) = label.split_once('=').ok_or("a label and its value")?;
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        // Words of this program: nothing in them is to be escaped.
        let is_word = value.is_some_and(|value| !value.is_empty() && !value.contains(['"', '\\', '\n']));
        if !is_name(name) || name.contains(':') || !is_word || !seen.insert(name) {
            return Err("labels that are words, each once");
        }
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    let begins = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_' || first == ':');
    begins && name.chars().all(|each| each.is_ascii_alphanumeric() || each == '_' || each == ':')
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# HELP a_total A.\n# TYPE a_total counter\na_total{x=\"y\"} 1\na_total{x=\"z\"} 2\n\
                        # HELP h H.\n# TYPE h histogram\nh_sum 1.5\nh_count 2\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\n";

    #[test]
    fn a_good_page_is_read() {
        let readings = Readings::parse(GOOD).unwrap();
        assert_eq!((readings.find("a_total{x=\"z\"}"), readings.value("h_count")), (Some(2.0), 2.0));
        assert_eq!((readings.find("b"), readings.value("b")), (None, 0.0));
    }

    #[test]
    fn a_page_that_the_format_does_not_allow_is_refused() {
        for (what, from, to) in [
            ("a value that is none", "} 1\n", "} one\n"),
            ("a sample twice", "x=\"z\"", "x=\"y\""),
            ("a sample of another family", "a_total{x=\"z\"}", "b_total{x=\"z\"}"),
            ("a counter below zero", "} 2\n#", "} -2\n#"),
            ("a type twice", "# TYPE h histogram", "# TYPE a_total counter"),
            ("an unknown type", "# TYPE h histogram", "# TYPE h thermometer"),
            ("help twice", "# HELP h H.", "# HELP a_total H."),
            ("a label without quotes", "{x=\"y\"}", "{x=y}"),
            ("a name that is none", "# HELP h H.", "# HELP 0h H."),
            ("buckets that shrink", "le=\"1\"} 1", "le=\"1\"} 3"),
            ("a count that is not the last bucket", "h_count 2", "h_count 3"),
            ("no last bucket", "+Inf", "2"),
            ("no sum", "h_sum 1.5\n", ""),
            ("no type", "# TYPE a_total counter\n", ""),
            ("no end", "le=\"+Inf\"} 2\n", "le=\"+Inf\"} 2"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD, "{what} changes nothing");
            assert!(Readings::parse(&text).is_err(), "{what} was taken");
        }
    }
}
