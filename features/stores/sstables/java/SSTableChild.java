import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.FileInputStream;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;

/**
 * Writes the SSTables of one table, and hands them to Cassandra: a child of a loading task, which it serves through its
 * standard input and output. It ends when its input does, so it never outlives the task.
 *
 * A request is a byte and its fields; an answer is a byte, 0 or 1, and two numbers, or what went wrong. All numbers are
 * big-endian, a text is its length in bytes and its UTF-8.
 */
public final class SSTableChild {
    private SSTableChild() {}

    public static void main(String[] arguments) throws IOException {
        // Whatever Cassandra prints must not end up among the answers.
        FileOutputStream answers = new FileOutputStream(FileDescriptor.out);
        System.setOut(System.err);
        DataInputStream in = new DataInputStream(new BufferedInputStream(new FileInputStream(FileDescriptor.in), 1 << 16));
        DataOutputStream out = new DataOutputStream(new BufferedOutputStream(answers));
        Server server = new Server(in);
        while (true) {
            int request;
            try {
                request = in.readUnsignedByte();
            } catch (EOFException end) {
                break;
            }
            long[] counts;
            try {
                counts = server.serve(request);
            } catch (Throwable failure) {
                out.writeByte(1);
                writeText(out, describe(failure));
                out.flush();
                continue;
            }
            out.writeByte(0);
            out.writeLong(counts[0]);
            out.writeLong(counts[1]);
            out.flush();
        }
        // Threads of Cassandra's would keep the JVM alive.
        System.exit(0);
    }

    /** The innermost cause says the most; the outermost where. */
    private static String describe(Throwable failure) {
        Throwable cause = failure;
        while (cause.getCause() != null) {
            cause = cause.getCause();
        }
        failure.printStackTrace();
        return cause == failure ? failure.toString() : failure + ": " + cause;
    }

    static String readText(DataInputStream in) throws IOException {
        byte[] bytes = new byte[in.readInt()];
        in.readFully(bytes);
        return new String(bytes, StandardCharsets.UTF_8);
    }

    private static void writeText(DataOutputStream out, String text) throws IOException {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        out.writeInt(bytes.length);
        out.write(bytes);
    }

    /** The requests: O opens a table, R writes a run of its rows as one SSTable, I imports, S streams what was written. */
    private static final class Server {
        private final DataInputStream in;
        private TableWriter table;

        Server(DataInputStream in) {
            this.in = in;
        }

        long[] serve(int request) throws Exception {
            switch (request) {
                case 'O':
                    table = TableWriter.open(in);
                    return new long[] {0, 0};
                case 'R':
                    // Read to its end before anything can fail, so that the next request is found where it begins.
                    Run run = Run.read(in);
                    return new long[] {run.rows, table.write(run)};
                case 'I':
                    return new long[] {Handover.importInto(in), 0};
                case 'S':
                    return new long[] {Handover.stream(in, table), 0};
                default:
                    throw new IllegalStateException("unknown request " + request);
            }
        }
    }
}
