// Which instructions the arithmetic uses: chosen once per process, before the first product.

import COpenBLAS
import Synchronization

/// A family of kernels. Products of two families may differ in the last bits; within one family they
/// never do, so a fleet names its family (`numerics`).
public enum KernelClass: String, Sendable, CaseIterable {
    /// AVX2 and FMA: any x86-64 server of the last ten years.
    case haswell
    /// AVX-512.
    case skylakex

    /// The fastest family that this processor has.
    public static var best: KernelClass { cs_cpu_has_avx512() == 1 ? .skylakex : .haswell }
}

/// A failure to set up the arithmetic.
public struct KernelError: Error, Equatable, CustomStringConvertible {
    public let description: String

    public init(description: String) { self.description = description }
}

/// The process's choice of kernels.
public enum KernelChoice {
    private static let chosen = Mutex<KernelClass?>(nil)

    /// The family in use, nil before the first product.
    public static var current: KernelClass? { chosen.withLock { $0 } }

    /// What OpenBLAS says it uses.
    public static var blasName: String {
        cs_blas_core().map { String(cString: $0) } ?? "not loaded"
    }

    /// Loads OpenBLAS with the kernels of `family`.
    ///
    /// - Throws: where OpenBLAS is missing, the processor lacks the instructions, or another family
    ///   has already been chosen in this process.
    public static func choose(_ family: KernelClass) throws(KernelError) {
        let failure: String? = chosen.withLock { current in
            if let current {
                return current == family
                    ? nil
                    : "this process already computes with \(current.rawValue) kernels and cannot "
                        + "change to \(family.rawValue); start another process"
            }
            if cs_cpu_has_avx2() == 0 {
                return "this processor has no AVX2, which Coldstream's kernels need"
            }
            if family == .skylakex, cs_cpu_has_avx512() == 0 {
                return "numerics skylakex needs AVX-512, which this processor has not; use haswell"
            }
            var message = [CChar](repeating: 0, count: 512)
            let core = family == .skylakex ? "SKYLAKEX" : "HASWELL"
            guard cs_blas_open(core, &message, message.count) == 0 else {
                let bytes = message.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
                return String(decoding: bytes, as: UTF8.self)
                    + "; install libopenblas0 (Debian, Ubuntu)"
            }
            current = family
            return nil
        }
        if let failure { throw KernelError(description: failure) }
    }

    /// Chooses the best family unless one is chosen already.
    public static func chooseIfNeeded() throws(KernelError) {
        if current == nil { try choose(.best) }
    }
}
