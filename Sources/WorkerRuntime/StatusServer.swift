// HTTP for operators: /metrics, /health/live, /health/ready, /status.

import CMicroHTTPD

#if canImport(Glibc)
    import Glibc
#endif

/// Serves a worker's status on a thread of its own.
public final class StatusServer {
    private let server: OpaquePointer
    private let status: WorkerStatus

    /// - Parameter address: `127.0.0.1:9100`; `:9100` listens on every address, port 0 takes a free one.
    public init(_ status: WorkerStatus, address: String) throws {
        guard let colon = address.lastIndex(of: ":"),
            let port = UInt16(address[address.index(after: colon)...])
        else { throw WorkerSettingsError("--http \(address) is not of the form ADDRESS:PORT") }
        let host = colon == address.startIndex ? "0.0.0.0" : String(address[..<colon])
        self.status = status
        guard
            let server = http_server_start(
                host == "localhost" ? "127.0.0.1" : host, port, answer,
                Unmanaged.passUnretained(status).toOpaque())
        else {
            throw WorkerSettingsError(
                "--http \(address): cannot listen there: \(String(cString: strerror(errno)))")
        }
        self.server = server
    }

    deinit { http_server_stop(server) }

    public var port: Int { Int(http_server_port(server)) }
}

/// Runs on the server's thread; everything it reads is behind the status' lock.
private func answer(
    _ path: UnsafePointer<CChar>?, _ context: UnsafeMutableRawPointer?
) -> http_response {
    let status = Unmanaged<WorkerStatus>.fromOpaque(context!).takeUnretainedValue()
    switch path.map({ String(cString: $0) }) ?? "" {
    case "/metrics": return response(200, "text/plain; version=0.0.4", status.metrics)
    case "/status": return response(200, "application/json", status.json + "\n")
    case "/health/live": return response(200, "text/plain", "live\n")
    case "/health/ready":
        return status.isReady
            ? response(200, "text/plain", "ready\n")
            : response(503, "text/plain", "\(status.newest.phase.rawValue)\n")
    default:
        return response(
            404, "text/plain", "/metrics /status /health/live /health/ready\n")
    }
}

private func response(_ code: UInt32, _ type: StaticString, _ text: String) -> http_response {
    var text = text
    return text.withUTF8 { bytes in
        let copy = malloc(max(1, bytes.count))!.assumingMemoryBound(to: CChar.self)
        if let base = bytes.baseAddress { memcpy(copy, base, bytes.count) }
        // A static string lives as long as the process, as libmicrohttpd needs it.
        return http_response(
            status: code,
            content_type: UnsafeRawPointer(type.utf8Start).assumingMemoryBound(to: CChar.self),
            text: copy, bytes: bytes.count)
    }
}
