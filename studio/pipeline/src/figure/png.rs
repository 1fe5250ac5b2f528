//! Pictures inside the document: PNG with a palette, as a data URI.

use std::io;

use crate::{Error, Result};

/// A picture of `width` pixels a row, each an index into `palette`.
///
/// # Errors
/// [`Error::Io`] when there are no pixels, or not whole rows of them.
pub(super) fn data_uri(width: usize, pixels: &[u8], palette: &[[u8; 3]]) -> Result<String> {
    let refuse = |error: png::EncodingError| Error::io("encode", "picture.png")(io::Error::from(error));
    let rows = u32::try_from(pixels.len() / width.max(1)).unwrap_or(u32::MAX);
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, u32::try_from(width).unwrap_or(u32::MAX), rows);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(palette.concat());
    encoder.set_compression(png::Compression::High);
    encoder.set_filter(png::Filter::NoFilter);
    let mut writer = encoder.write_header().map_err(refuse)?;
    writer.write_image_data(pixels).map_err(refuse)?;
    writer.finish().map_err(refuse)?;
    Ok(format!("data:image/png;base64,{}", base64(&bytes)))
}

/// Base 64 of RFC 4648, section 4.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4_usize {
            let digit = ALPHABET[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_the_rfc() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn a_picture_is_a_png_and_no_picture_is_refused() {
        let uri = data_uri(2, &[0, 1, 1, 0], &[[0, 0, 0], [255, 255, 255]]).unwrap();
        // "iVBORw0KGgo" is the signature of PNG in base 64.
        assert!(uri.starts_with("data:image/png;base64,iVBORw0KGgo"), "{uri}");
        assert!(data_uri(0, &[], &[[0, 0, 0]]).is_err());
        assert!(data_uri(3, &[0, 0], &[[0, 0, 0]]).is_err());
    }
}
