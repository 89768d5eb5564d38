//! What fuzzing found, once each.

use vnet_engine::fuzzing;

/// A slice whose encapsulated pixels are a primitive of 17 bytes: what follows lies at odd bytes, and was taken for an
/// element of 1.4 GB by a parser that trusts lengths.
#[test]
fn pixels_of_defined_length_that_hold_items() {
    let mut bytes = vec![0; 128];
    bytes.extend(
        b"DICM\x02\0\x10\0UI\x16\x001.2.840.10008.1.2.4.70\xE0\x7F\x10\0OB\0\0\x11\0\0\0\xFE\xFF\0\xE0\0\0\0\0",
    );
    bytes.extend(b"\xFE\xFF\0\xE0\x4A\0\0\0\xFF\xD8\xFF\xC3\0\x0B\x10\0\x28\0\x02\0US\x02\0\0\0\x01\0\x28\0\x04\0CS");
    fuzzing::volume(&bytes);
}

/// Seven axes whose product is beyond 64 bits.
#[test]
fn extents_whose_product_overflows() {
    let mut bytes = vec![0; 352 + 16];
    bytes[..4].copy_from_slice(&348i32.to_le_bytes());
    bytes[344..348].copy_from_slice(b"n+1\0");
    bytes[40..56].copy_from_slice(&[7u8, 0].into_iter().chain([0xFF, 0x7F].repeat(7)).collect::<Vec<_>>());
    (bytes[70], bytes[72]) = (2, 8);
    fuzzing::volume(&bytes);
}

/// A spacing with which the training spacing asks for more than 2^63 voxels along an axis.
#[test]
fn spacings_beyond_all_voxels() {
    let header = "ObjectType = Image\nNDims = 3\nBinaryData = True\nElementSpacing = 9223372036854775805 1.25 3\n";
    let rest = "DimSize = 1 3 2\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n\0\x01\x02\0\x01\x02";
    fuzzing::volume(format!("{header}{rest}").as_bytes());
}

/// An exponent of NaN in the schedule gave learning rates of NaN.
#[test]
fn numbers_that_are_not_finite_in_a_configuration() {
    fuzzing::configuration(b"schedule.power=nan");
    fuzzing::configuration(b"network.head_gain=nan\noptimiser.epsilon=nan");
}
