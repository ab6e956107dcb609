// The maps that come with the binary.

import Bytes

/// A map for a well-known source.
public enum ShippedMap: String, CaseIterable, Sendable {
    case ranklens, ga4, snowplow

    /// The map as JSON, to start one's own from.
    public var text: String {
        let bytes =
            switch self {
            case .ranklens: PackageResources.ranklens_json
            case .ga4: PackageResources.ga4_json
            case .snowplow: PackageResources.snowplow_json
            }
        return String(decoding: bytes, as: UTF8.self)
    }

    public var map: EventMap {
        get throws(EventMapError) {
            var bytes = ByteBuffer()
            bytes.append(text)
            return try EventMap(parsing: bytes.slice)
        }
    }
}
