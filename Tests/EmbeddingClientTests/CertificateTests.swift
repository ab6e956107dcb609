// TLS: a server whose certificate nobody vouches for gets neither texts nor key.

import Foundation
import TextEncoding
import Testing

@testable import EmbeddingClient

private let openssl = "/usr/bin/openssl"

@Suite(.enabled(if: FileManager.default.isExecutableFile(atPath: openssl), "there is no openssl"))
struct CertificateTests {
    @Test func `a certificate that nobody vouches for ends it, with a sentence about settings`()
        throws
    {
        let folder = NSTemporaryDirectory() + "coldstream-tls-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let made = try start([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1",
            "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "\(folder)/key.pem", "-out",
            "\(folder)/cert.pem",
        ]).process
        made.waitUntilExit()
        try #require(made.terminationStatus == 0)
        // Port 0: the system chooses, and the server says which.
        let (server, output) = try start([
            "s_server", "-accept", "127.0.0.1:0", "-cert", "\(folder)/cert.pem", "-key",
            "\(folder)/key.pem", "-naccept", "1",
        ])
        defer {
            server.terminate()
            server.waitUntilExit()
        }
        var said = ""
        while !said.contains("ACCEPT"), let more = try output.read(upToCount: 1) {
            said += String(decoding: more, as: UTF8.self)
        }
        while !said.hasSuffix("\n"), let more = try output.read(upToCount: 1) {
            said += String(decoding: more, as: UTF8.self)
        }
        let line = said.split(separator: "\n").first { $0.hasPrefix("ACCEPT") }
        let port = try #require(line?.split(separator: ":").last.flatMap { Int($0) }, "\(said)")
        let settings = try EmbeddingSettings(
            url: "https://127.0.0.1:\(port)", model: "m", dimension: 3)
        let client = try EmbeddingClient(settings, secret: "sk-very-secret") { _ in }
        let vectors = UnsafeMutableBufferPointer<Float>.allocate(capacity: 3)
        defer { vectors.deallocate() }
        do {
            try client.encode([Array("a".utf8)], into: vectors)
            Issue.record("the certificate was trusted")
        } catch let error as EmbeddingError {
            #expect(error.remedy == .fixSettings, "\(error)")
            #expect(error.description.contains("certificate"), "\(error)")
            #expect(client.requests == 1)
        }
    }

    private func start(_ words: [String]) throws -> (process: Process, output: FileHandle) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: openssl)
        process.arguments = words
        let pipe = Pipe()
        process.standardInput = Pipe()
        process.standardOutput = pipe
        process.standardError = FileHandle(forWritingAtPath: "/dev/null")
        try process.run()
        return (process, pipe.fileHandleForReading)
    }
}
