//! Writes CDR: what [`Decoder`](super::Decoder) reads, the other way.

/// A serialized message in the making: little endian, as every ROS on a robot's processor writes it.
#[derive(Debug)]
pub struct CdrWriter {
    bytes: Vec<u8>,
}

/// The encapsulation header: plain CDR, little endian, no options (OMG DDSI-RTPS 2.5, 10.2).
const HEADER: [u8; 4] = [0, 1, 0, 0];

impl CdrWriter {
    /// A message without a field yet.
    pub fn new() -> Self {
        CdrWriter { bytes: HEADER.to_vec() }
    }

    pub fn write_u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub fn write_u32(&mut self, value: u32) {
        // Alignment counts from behind the header, which is itself a multiple of four long.
        self.bytes.resize(self.bytes.len().next_multiple_of(size_of::<u32>()), 0);
        self.bytes.extend(value.to_le_bytes());
    }

    pub fn write_i32(&mut self, value: i32) {
        self.write_u32(value.cast_unsigned());
    }

    /// The length of a sequence, whose elements follow.
    pub fn write_length(&mut self, length: usize) {
        self.write_u32(u32::try_from(length).unwrap_or(u32::MAX));
    }

    /// A text. ROS ends a string at its first NUL, so it is written up to there.
    pub fn write_string(&mut self, text: &str) {
        let text = text.split('\0').next().unwrap_or_default();
        self.write_length(text.len() + 1);
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    /// The serialized message.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl Default for CdrWriter {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of four bytes stand at multiples of four, texts end with a NUL that their length counts.
    #[test]
    fn fields_are_aligned_and_texts_terminated() {
        let mut writer = CdrWriter::new();
        writer.write_u8(7);
        writer.write_string("ab\0c");
        writer.write_i32(-2);
        let expected = [0, 1, 0, 0, 7, 0, 0, 0, 3, 0, 0, 0, b'a', b'b', 0, 0, 254, 255, 255, 255];
        assert_eq!(writer.into_bytes(), expected);
    }
}
