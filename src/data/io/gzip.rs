//! Files of gzip members, read as gzip, zlib and nibabel read them: one member after the other, up to the first bytes that begin
//! no member, such as the zeros of a tape or what a web server has appended.

use std::io::{BufRead, Chain, Read};

use flate2::bufread::GzDecoder;

/// The first bytes of a gzip member.
pub(super) const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The members of a gzip file, up to the first bytes after a member that begin no other.
pub(super) struct Members<R> {
    /// None after the last.
    member: Option<GzDecoder<Chain<&'static [u8], R>>>,
}

impl<R: BufRead> Members<R> {
    /// Of a file that begins as gzip does.
    pub(super) fn new(bytes: R) -> Members<R> {
        Members { member: Some(GzDecoder::new([].as_slice().chain(bytes))) }
    }

    /// Checks the checksum of the member that was read last, if all that it holds was read.
    pub(super) fn verify(&mut self) -> std::io::Result<()> {
        self.member.as_mut().map_or(Ok(0), |member| member.read(&mut [0])).map(|_| ())
    }

    /// Goes to the next member, if there is one.
    fn advance(&mut self) -> std::io::Result<()> {
        let Some((_, mut bytes)) = self.member.take().map(|member| member.into_inner().into_inner()) else {
            return Ok(());
        };
        for expected in GZIP_MAGIC {
            // A buffer may end between the two.
            if bytes.fill_buf()?.first() != Some(&expected) {
                return Ok(());
            }
            bytes.consume(1);
        }
        self.member = Some(GzDecoder::new(GZIP_MAGIC.as_slice().chain(bytes)));
        Ok(())
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while let Some(member) = &mut self.member {
            let count = member.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            self.advance()?;
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::{BufReader, Write};

    /// However small the buffer, so that it ends between the two bytes that begin a member.
    #[test]
    fn members_are_found_across_the_ends_of_a_buffer() {
        let gzip = |bytes: &[u8]| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory takes every byte")
        };
        let file = [&gzip(b"voxels")[..], &gzip(b""), &gzip(b" and more"), b"\x1f\x00after"].concat();
        for capacity in [1, 2, 3, 7, 64] {
            let mut read = String::new();
            let mut members = Members::new(BufReader::with_capacity(capacity, file.as_slice()));
            members.read_to_string(&mut read).expect("whole members");
            assert_eq!(read, "voxels and more", "{capacity} bytes at a time");
            assert_eq!(members.read(&mut [0]).expect("the end stays the end"), 0);
        }
    }
}
