// Every hash against vectors that somebody else published.

import Bytes
import Testing

private func bytes(_ hex: String) -> [UInt8] {
    let digits = Array(hex.utf8)
    func value(_ digit: UInt8) -> UInt8 { digit < 58 ? digit - 48 : digit - 87 }
    return stride(from: 0, to: digits.count, by: 2).map {
        value(digits[$0]) << 4 | value(digits[$0 + 1])
    }
}

@Suite struct Murmur2Tests {
    /// Source: `UtilsTest.testMurmur2` of Apache Kafka's Java client.
    @Test(arguments: [
        ("21", -973_932_308), ("foobar", -790_332_482), ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971), ("abc", 479_470_107),
    ])
    func `murmur2 agrees with Kafka's Java client`(key: String, expected: Int) {
        #expect(key.lend { Int32(bitPattern: Murmur2.hash($0)) } == Int32(expected))
    }

    @Test func `a negative hash is a positive partition, its sign bit cut off`() {
        // toPositive(-973932308) % 10 in Java.
        #expect(
            "21".lend { Murmur2.partition($0, of: 10) } == Int((-973_932_308 & 0x7FFF_FFFF) % 10))
        for i in 0..<1_000 {
            let partition = "user-\(i)".lend { Murmur2.partition($0, of: 7) }
            #expect((0..<7).contains(partition))
        }
    }
}

@Suite struct SipHashTests {
    /// Source: `vectors_sip64` of the reference implementation: key 00…0f, input 00, 01, … of length i.
    static let vectors = [
        "310e0edd47db6f72", "fd67dc93c539f874", "5a4fa9d909806c0d", "2d7efbd796666785",
        "b7877127e09427cf", "8da699cd64557618", "cee3fe586e46c9cb", "37d1018bf50002ab",
        "6224939a79f5f593", "b0e4a90bdf82009e", "f3b9dd94c5bb5d7a", "a7ad6b22462fb3f4",
        "fbe50e86bc8f1e75", "903d84c02756ea14", "eef27a8e90ca23f7", "e545be4961ca29a1",
    ]

    @Test func `SipHash-2-4 agrees with the reference vectors`() {
        let hash = SipHash(key: 0x0706_0504_0302_0100, 0x0F0E_0D0C_0B0A_0908)
        for (length, expected) in SipHashTests.vectors.enumerated() {
            let input = (0..<length).map { UInt8($0) }
            let value = input.lend { hash($0) }
            #expect(withUnsafeBytes(of: value) { Array($0) } == bytes(expected), "length \(length)")
        }
    }
}

@Suite struct CRC32CTests {
    /// Source: RFC 3720, appendix B.4.
    @Test func `CRC-32C agrees with the vectors of iSCSI`() {
        #expect([UInt8](repeating: 0, count: 32).lend { CRC32C.checksum($0) } == 0x8A91_36AA)
        #expect([UInt8](repeating: 0xFF, count: 32).lend { CRC32C.checksum($0) } == 0x62A8_AB43)
        #expect((0..<32).map { UInt8($0) }.lend { CRC32C.checksum($0) } == 0x46DD_794E)
        #expect((0..<32).reversed().map { UInt8($0) }.lend { CRC32C.checksum($0) } == 0x113F_DB5C)
        #expect("123456789".lend { CRC32C.checksum($0) } == 0xE306_9283)
    }

    @Test func `a checksum goes on from any place`() {
        let input = (0..<100).map { UInt8(truncatingIfNeeded: $0 &* 37) }
        let whole = input.lend { CRC32C.checksum($0) }
        for cut in 0...input.count {
            let first = Array(input[..<cut]).lend { CRC32C.checksum($0) }
            #expect(Array(input[cut...]).lend { CRC32C.checksum($0, continuing: first) } == whole)
        }
    }
}

@Suite struct SHA256Tests {
    /// Source: NIST, "SHA-256 examples" to FIPS 180-4.
    @Test func `SHA-256 agrees with the vectors of the standard`() {
        #expect(
            "".lend { SHA256.hex($0) }
                == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        #expect(
            "abc".lend { SHA256.hex($0) }
                == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        #expect(
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq".lend { SHA256.hex($0) }
                == "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1")
        #expect(
            [UInt8](repeating: UInt8(ascii: "a"), count: 1_000_000).lend { SHA256.hex($0) }
                == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0")
    }

    @Test func `a digest does not depend on how the bytes were cut`() {
        let input = (0..<200).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let whole = input.lend { SHA256.hex($0) }
        for cut in 0...input.count {
            var hash = SHA256()
            Array(input[..<cut]).lend { hash.update($0) }
            Array(input[cut...]).lend { hash.update($0) }
            #expect(hash.finishHex() == whole, "cut at \(cut)")
        }
    }
}

@Suite struct Hash128Tests {
    @Test func `every length, every byte and every seed counts`() {
        var seen: Set<Hash128> = []
        for length in 0...70 {
            var input = [UInt8](repeating: 0, count: length)
            seen.insert(input.lend { Hash128($0) })
            seen.insert(input.lend { Hash128($0, seed: 1) })
            for at in 0..<length {
                input[at] = 1
                seen.insert(input.lend { Hash128($0) })
                input[at] = 0
            }
        }
        #expect(seen.count == 71 * 2 + (0...70).reduce(0, +))
    }

    @Test func `two numbers hash as their bytes do, and their order counts`() {
        var buffer = ByteBuffer()
        buffer.append(raw: UInt64(7))
        buffer.append(raw: UInt64(9))
        #expect(Hash128(7, 9, seed: 3) == Hash128(buffer.slice, seed: 3))
        #expect(Hash128(7, 9) != Hash128(9, 7))
        let a = Hash128(1, 2)
        let b = Hash128(3, 4)
        #expect(a.combined(with: b) != b.combined(with: a))
    }

    @Test func `a hash does not change: states on disk depend on it`() {
        #expect("".lend { Hash128($0).hex } == golden[0])
        #expect("item-1".lend { Hash128($0).hex } == golden[1])
        #expect("a name of more than sixteen bytes".lend { Hash128($0).hex } == golden[2])
    }

    private let golden = [
        "61deb22a52db6faabb05b7ab295a6ea2", "ff611c47a22c29e0f4db8ef7ecbb9ae7",
        "8104f33848d70b01f7d7a33afd985301",
    ]
}
