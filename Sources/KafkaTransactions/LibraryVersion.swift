// Which librdkafka runs here, and which ones must not.

import CRdKafka

/// A version of librdkafka.
public struct LibraryVersion: Equatable, Comparable, Sendable, CustomStringConvertible {
    public let major: Int
    public let minor: Int
    public let patch: Int

    public init(_ major: Int, _ minor: Int, _ patch: Int) {
        self.major = major
        self.minor = minor
        self.patch = patch
    }

    /// From librdkafka's own encoding, 0xMMmmrrxx.
    init(encoded: Int32) {
        self.init(Int(encoded >> 24) & 0xFF, Int(encoded >> 16) & 0xFF, Int(encoded >> 8) & 0xFF)
    }

    /// The library this process is linked with.
    public static var running: LibraryVersion { LibraryVersion(encoded: rd_kafka_version()) }

    /// Why this version must not be used; nil where it may be.
    ///
    /// Source: librdkafka's CHANGELOG (2.5.3, 2.6.1) and its issues 4871 and 5088.
    public var refusal: String? {
        let (defect, next): (String, String)
        switch (major, minor, patch) {
        case (..<2, _, _), (2, 0, ..<2): (defect, next) = ("is older than what is tested", "2.0.2")
        case (2, 5, 0):
            (defect, next) = ("stops the process when a broker asks for telemetry", "2.5.3")
        case (2, 6, 0): (defect, next) = ("cannot talk to brokers before 2.7", "2.6.1")
        case (2, 10, 0): (defect, next) = ("can connect again and again without end", "2.10.1")
        default: return nil
        }
        return
            "librdkafka \(self) \(defect); install \(next) or newer (and not 2.5.0, 2.6.0 or 2.10.0)"
    }

    /// Why this version cannot log in by SCRAM at a broker of Kafka 4; nil where it can.
    ///
    /// It sends the client's part of a nonce twice, which brokers up to 3.9 let pass. Source:
    /// librdkafka's pull request 4895.
    public var scramLimit: String? {
        guard self < LibraryVersion(2, 6, 1) else { return nil }
        return
            "librdkafka \(self) cannot log in by SCRAM at Kafka 4 or newer, even with the right password; "
            + "install 2.6.1 or newer, or use SASL/PLAIN over TLS or client certificates"
    }

    public var description: String { "\(major).\(minor).\(patch)" }

    public static func < (a: LibraryVersion, b: LibraryVersion) -> Bool {
        (a.major, a.minor, a.patch) < (b.major, b.minor, b.patch)
    }
}
