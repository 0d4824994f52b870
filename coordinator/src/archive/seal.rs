//! The seal: the digest of all bytes of the file, in a frame at its end that zstd skips.

use super::ArchiveError;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write};
use std::path::Path;

/// Of a frame that decoders skip, with the length of what follows (RFC 8878, 3.1.2).
const FRAME: [u8; 4] = 0x184D_2A5B_u32.to_le_bytes();
const LABEL: &[u8; 20] = b"coordinator-backup-1";
const DIGEST_BYTES: usize = 32;
const CONTENT_BYTES: usize = LABEL.len() + DIGEST_BYTES;
const SEAL_BYTES: usize = FRAME.len() + 4 + CONTENT_BYTES;
/// How every zstd file begins.
const ZSTD: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
/// Read at once.
const BUFFER_BYTES: usize = 1024 * 1024;

/// Bytes on their way into the file, with the digest of all of them.
#[derive(Default)]
pub struct Sealing {
    digest: Sha256,
    waiting: Vec<u8>,
}

impl Sealing {
    /// What was written since the last time.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.waiting)
    }

    /// The last bytes of the file.
    pub fn finish(mut self) -> Vec<u8> {
        let mut last = self.take();
        last.extend(seal(&self.digest.finalize()));
        last
    }
}

impl Write for Sealing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.digest.update(bytes);
        self.waiting.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads the whole file once.
pub fn check(path: &Path) -> Result<(), ArchiveError> {
    let failed = |source| ArchiveError::File {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(failed)?;
    let mut begin = [0; ZSTD.len()];
    if file.read_exact(&mut begin).is_err() || begin != ZSTD {
        return Err(ArchiveError::Foreign(path.to_owned()));
    }
    let size = file.seek(SeekFrom::End(0)).map_err(failed)?;
    let Some(sealed) = size.checked_sub(SEAL_BYTES as u64) else {
        return Err(ArchiveError::CutOff(path.to_owned()));
    };
    file.rewind().map_err(failed)?;
    let digest = digest(&mut file, sealed).map_err(failed)?;
    let mut end = Vec::new();
    file.read_to_end(&mut end).map_err(failed)?;
    let expected = seal(&digest);
    let (label, _) = expected.split_at(SEAL_BYTES - DIGEST_BYTES);
    match () {
        () if !end.starts_with(label) => Err(ArchiveError::CutOff(path.to_owned())),
        () if end != expected => Err(ArchiveError::Changed(path.to_owned())),
        () => Ok(()),
    }
}

fn seal(digest: &[u8]) -> Vec<u8> {
    let length = (CONTENT_BYTES as u32).to_le_bytes();
    [&FRAME[..], &length, LABEL, digest].concat()
}

fn digest(file: &mut File, sealed: u64) -> io::Result<Vec<u8>> {
    let mut digest = Sha256::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut rest = sealed;
    while rest > 0 {
        let wanted = rest.min(BUFFER_BYTES as u64) as usize;
        file.read_exact(&mut buffer[..wanted])?;
        digest.update(&buffer[..wanted]);
        rest -= wanted as u64;
    }
    Ok(digest.finalize().to_vec())
}
