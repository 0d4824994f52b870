//! A backup as it is written: entries in, the file's bytes out. Holds no more than one piece.

use super::seal::Sealing;
use super::{FORM, MANIFEST, Manifest, PIECE};
use std::io;
use tar::{Builder, EntryType, Header};

/// The streams' pieces come packed; this is for the rest.
const LEVEL: i32 = 3;

pub struct Writer {
    tar: Builder<zstd::Encoder<'static, Sealing>>,
    stream: String,
    pieces: u64,
}

impl Writer {
    pub fn begin(manifest: &Manifest) -> io::Result<Self> {
        let encoder = zstd::Encoder::new(Sealing::default(), LEVEL)?;
        let mut writer = Self {
            tar: Builder::new(encoder),
            stream: String::new(),
            pieces: 0,
        };
        let manifest = serde_json::to_vec_pretty(manifest)?;
        writer.entry(MANIFEST, &manifest)?;
        Ok(writer)
    }

    /// What follows is of this stream, whose form this is.
    pub fn stream(&mut self, name: &str, form: &[u8]) -> io::Result<()> {
        name.clone_into(&mut self.stream);
        self.pieces = 0;
        self.entry(&format!("{name}/{FORM}"), form)
    }

    pub fn piece(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.pieces += 1;
        let path = format!("{}/{PIECE}{:09}", self.stream, self.pieces);
        self.entry(&path, bytes)
    }

    /// Bytes of the file that are ready.
    pub fn take(&mut self) -> Vec<u8> {
        self.tar.get_mut().get_mut().take()
    }

    /// The last bytes of the file.
    pub fn finish(self) -> io::Result<Vec<u8>> {
        let sealing = self.tar.into_inner()?.finish()?;
        Ok(sealing.finish())
    }

    fn entry(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o600);
        header.set_size(bytes.len() as u64);
        self.tar.append_data(&mut header, path, bytes)
    }
}
