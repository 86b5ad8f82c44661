//! What lies on a disk: what a power cut leaves for certain, and what it may leave.
//!
//! Bytes are kept in sectors, and each sector, size and name has all its versions since it was last synced. A power cut leaves one
//! version of each. Which ones belong together is what disks and file systems differ in, so an image is drawn in one of four
//! ways: nothing that was not synced; everything; everything up to a moment; and any version of each, sectors torn in the middle.

use std::collections::{BTreeMap, BTreeSet};

use super::{Dice, Image, is_memory};

/// The files, by name.
#[derive(Debug)]
pub(crate) struct Model {
    files: Vec<File>,
    names: BTreeMap<String, Versions<Option<usize>>>,
    moment: u32,
}

#[derive(Debug)]
struct File {
    sectors: BTreeMap<usize, Versions<Sector>>,
    size: Versions<usize>,
    /// When it was truncated.
    truncated: Vec<u32>,
}

type Sector = [u8; SECTOR];

/// What something was since it was synced, with the moment from which on: the first version is on the disk.
#[derive(Debug)]
struct Versions<T> {
    all: Vec<(u32, T)>,
    /// Whether a sync has something to write. After one that failed it has not.
    is_dirty: bool,
}

/// How an image is drawn.
enum Draw {
    /// What was synced.
    Synced,
    /// Everything up to a moment.
    Until(u32),
    /// Any version of each; of names those of these moments.
    Any(BTreeSet<u32>),
}

impl Model {
    /// A disk on which these files are safe.
    pub(crate) fn of(image: Image) -> Self {
        let mut model = Self { files: Vec::new(), names: BTreeMap::new(), moment: 0 };
        for (name, content) in image {
            model.name(&name);
            model.write(&name, 0, &content);
            model.sync(&name, true);
        }
        model.sync_names(true);
        model
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.file(name).is_some()
    }

    /// Makes an empty file of this name.
    pub(crate) fn name(&mut self, name: &str) {
        if is_memory(name) {
            return;
        }
        self.files.push(File { sectors: BTreeMap::new(), size: Versions::new(0), truncated: Vec::new() });
        let file = self.files.len() - 1;
        self.moment += 1;
        self.set_name(name, Some(file));
    }

    pub(crate) fn write(&mut self, name: &str, at: usize, bytes: &[u8]) {
        self.moment += 1;
        let moment = self.moment;
        let Some(file) = self.file_mut(name) else { return };
        let end = at + bytes.len();
        for number in at / SECTOR..end.div_ceil(SECTOR) {
            let sector = file.sectors.entry(number).or_insert_with(|| Versions::new([0; SECTOR]));
            let (from, to) = (at.max(number * SECTOR), end.min((number + 1) * SECTOR));
            let place = from - number * SECTOR..to - number * SECTOR;
            sector.at(moment)[place].copy_from_slice(&bytes[from - at..to - at]);
        }
        // What is written up to the end writes the size again: a sync that failed may have kept neither.
        if end >= *file.size.last() {
            *file.size.at(moment) = end;
        }
    }

    pub(crate) fn truncate(&mut self, name: &str, size: usize) {
        self.moment += 1;
        let moment = self.moment;
        let Some(file) = self.file_mut(name) else { return };
        *file.size.at(moment) = size;
        file.truncated.push(moment);
        for (number, sector) in file.sectors.range_mut(size / SECTOR..) {
            let kept = size.saturating_sub(number * SECTOR).min(SECTOR);
            sector.at(moment)[kept..].fill(0);
        }
    }

    /// A sync of a file that was done, or failed.
    pub(crate) fn sync(&mut self, name: &str, is_done: bool) {
        let Some(file) = self.file_mut(name) else { return };
        file.size.sync(is_done);
        file.sectors.values_mut().for_each(|sector| sector.sync(is_done));
    }

    /// A sync of the directory. One that fails loses nothing: file systems keep a journal of names.
    pub(crate) fn sync_names(&mut self, is_done: bool) {
        if is_done {
            self.names.values_mut().for_each(|name| name.sync(true));
        }
    }

    pub(crate) fn delete(&mut self, name: &str) {
        self.moment += 1;
        if self.has(name) {
            self.set_name(name, None);
        }
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str) {
        let Some(file) = self.file(from) else { return };
        // One moment for both names: a file has never both and never none.
        self.moment += 1;
        self.set_name(from, None);
        self.set_name(to, Some(file));
    }

    pub(crate) fn image(&self, dice: &mut Dice) -> Image {
        let draw = match dice.below(4) {
            0 => Draw::Synced,
            1 => Draw::Until(u32::MAX),
            2 => Draw::Until(u32::try_from(dice.below(1 + usize::try_from(self.moment).unwrap())).unwrap()),
            _ => Draw::Any((0..=self.moment).filter(|_moment| dice.once_in(2)).collect()),
        };
        let mut image = Image::new();
        for (name, versions) in &self.names {
            let file = match &draw {
                Draw::Synced => versions.all[0].1,
                Draw::Until(moment) => *versions.until(*moment),
                Draw::Any(moments) => {
                    let kept = versions.all[1..].iter().rev().find(|(at, _)| moments.contains(at));
                    kept.unwrap_or(&versions.all[0]).1
                }
            };
            if let Some(file) = file {
                image.insert(name.clone(), self.files[file].content(&draw, dice));
            }
        }
        image
    }

    fn file(&self, name: &str) -> Option<usize> {
        self.names.get(name).and_then(|versions| *versions.last())
    }

    fn file_mut(&mut self, name: &str) -> Option<&mut File> {
        self.file(name).map(|file| &mut self.files[file])
    }

    fn set_name(&mut self, name: &str, file: Option<usize>) {
        let versions = self.names.entry(name.to_owned()).or_insert_with(|| Versions::new(None));
        *versions.at(self.moment) = file;
    }
}

impl File {
    fn content(&self, draw: &Draw, dice: &mut Dice) -> Vec<u8> {
        let drawn = match draw {
            Draw::Any(_) => self.size.all[dice.below(self.size.all.len())],
            Draw::Synced | Draw::Until(_) => self.size.all[0],
        };
        let size = match draw {
            Draw::Synced => self.size.all[0].1,
            Draw::Until(moment) => *self.size.until(*moment),
            Draw::Any(_) => drawn.1,
        };
        let mut content = vec![0; size.next_multiple_of(SECTOR)];
        for (number, versions) in &self.sectors {
            let Some(place) = content.get_mut(number * SECTOR..(number + 1) * SECTOR) else { break };
            match draw {
                Draw::Synced => place.copy_from_slice(&versions.all[0].1),
                Draw::Until(moment) => place.copy_from_slice(versions.until(*moment)),
                Draw::Any(_) => {
                    let mut kept = dice.below(versions.all.len());
                    // What a truncation took is gone with the size, not before it: a file system does not write zeros for it.
                    while kept > 0
                        && versions.all[kept].0 > drawn.0
                        && self.truncated.contains(&versions.all[kept].0)
                    {
                        kept -= 1;
                    }
                    place.copy_from_slice(&versions.all[kept].1);
                    if kept > 0 && dice.once_in(4) {
                        // The head was still writing it.
                        let torn = dice.below(SECTOR);
                        place[torn..].copy_from_slice(&versions.all[kept - 1].1[torn..]);
                    }
                }
            }
        }
        content.truncate(size);
        content
    }
}

impl<T: Copy> Versions<T> {
    fn new(first: T) -> Self {
        Self { all: vec![(0, first)], is_dirty: false }
    }

    fn last(&self) -> &T {
        &self.all[self.all.len() - 1].1
    }

    /// The version of a moment, to be changed; a new one where there is none yet.
    fn at(&mut self, moment: u32) -> &mut T {
        self.is_dirty = true;
        let (newest, value) = self.all[self.all.len() - 1];
        if newest != moment {
            self.all.push((moment, value));
        }
        let last = self.all.len() - 1;
        &mut self.all[last].1
    }

    fn until(&self, moment: u32) -> &T {
        let known = self.all[1..].iter().rev().find(|(at, _)| *at <= moment);
        &known.unwrap_or(&self.all[0]).1
    }

    fn sync(&mut self, is_done: bool) {
        if std::mem::take(&mut self.is_dirty) && is_done {
            self.all.drain(..self.all.len() - 1);
        }
    }
}

const SECTOR: usize = 512;
