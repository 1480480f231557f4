//! Whether a message could be written, without its text.

use super::array::{self, Kept};
use super::cursor::{Cursor, Endian};
use super::decoder::{Decoder, skip, skip_elements};
use super::error::{DecodeError, Stop};
use super::plan::{Item, Many, Plan, Work};
use super::values;

impl Decoder {
    /// Whether [`write_json`](Self::write_json) would write the message in `cdr`, however long its text is. Values are passed
    /// over, so it takes next to nothing for long arrays of numbers.
    ///
    /// # Errors
    /// [`DecodeError::TooLong`] for an array for which the selection drops the message; [`DecodeError::Malformed`] if the
    /// bytes do not fit the type.
    pub fn check(&self, cdr: &[u8]) -> Result<(), DecodeError> {
        let pass = || {
            let (endian, mut cursor) = Cursor::open(cdr)?;
            message(&self.plan, &mut cursor, endian)
        };
        pass().map_err(|stop: Stop| stop.into_error(usize::MAX))
    }
}

fn message(plan: &Plan, cursor: &mut Cursor, endian: Endian) -> Result<(), Stop> {
    for step in &plan.steps {
        let done = match &step.work {
            Work::Skip(what) => skip(what, cursor, endian),
            Work::One(item) => value(item, cursor, endian),
            Work::Many(many) => elements(many, cursor, endian),
        };
        done.map_err(|stop| stop.within(&step.path))?;
    }
    Ok(())
}

fn value(item: &Item, cursor: &mut Cursor, endian: Endian) -> Result<(), Stop> {
    match item {
        Item::Message(plan) => message(plan, cursor, endian),
        _ => values::value(item, cursor, endian, &mut |_| {}),
    }
}

fn elements(many: &Many, cursor: &mut Cursor, endian: Endian) -> Result<(), Stop> {
    let count = array::length(many.count, many.skip.min_size(), cursor, endian)?;
    let wanted = match array::kept(many, count)? {
        // Only messages have more arrays in them.
        Kept::Elements(wanted) if matches!(many.item, Item::Message(_)) => wanted,
        Kept::Elements(_) | Kept::Nothing | Kept::Summary(_) => {
            return skip_elements(&many.skip, 0..count, cursor, endian);
        }
    };
    let mut done = 0;
    let mut one = |index, item| {
        skip_elements(&many.skip, done..index, cursor, endian)?;
        done = index + 1;
        value(item, cursor, endian).map_err(|stop| stop.at(index))
    };
    match &many.chosen {
        None => (0..wanted).try_for_each(|index| one(index, &many.item))?,
        Some(chosen) => {
            chosen.elements(count, &many.item).take(wanted).try_for_each(|(index, item)| one(index, item))?
        }
    }
    skip_elements(&many.skip, done..count, cursor, endian)
}
