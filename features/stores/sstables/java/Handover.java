import java.io.DataInputStream;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.apache.cassandra.config.DatabaseDescriptor;
import org.apache.cassandra.dht.Murmur3Partitioner.LongToken;
import org.apache.cassandra.dht.Range;
import org.apache.cassandra.dht.Token;
import org.apache.cassandra.io.sstable.SSTableLoader;
import org.apache.cassandra.io.util.File;
import org.apache.cassandra.locator.InetAddressAndPort;
import org.apache.cassandra.net.OutboundConnectionSettings;
import org.apache.cassandra.schema.TableMetadataRef;
import org.apache.cassandra.streaming.StreamingChannel;
import org.apache.cassandra.streaming.async.NettyStreamingConnectionFactory;
import org.apache.cassandra.tools.NodeProbe;
import org.apache.cassandra.utils.OutputHandler;

/** Two ways of SSTables into Cassandra: a node on this machine takes the files, or they are streamed to all replicas. */
final class Handover {
    private Handover() {}

    /**
     * Let the node whose JMX listens there take the files of a folder; 1, for one node. Fields: host,
     * port, user (empty: none), password, keyspace, table, folder.
     */
    static long importInto(DataInputStream in) throws Exception {
        String host = SSTableChild.readText(in);
        int port = in.readInt();
        String user = SSTableChild.readText(in);
        String password = SSTableChild.readText(in);
        String keyspace = SSTableChild.readText(in);
        String table = SSTableChild.readText(in);
        String folder = SSTableChild.readText(in);
        boolean open = user.isEmpty();
        try (NodeProbe node = open ? new NodeProbe(host, port) : new NodeProbe(host, port, user, password)) {
            // Just written here, with checksums: nothing to verify, and tables have no secondary indexes. Files on another
            // disk than the node's data are copied, others linked; the folder is ours to remove.
            boolean check = false;
            boolean copy = true;
            List<String> failed =
                    node.importNewSSTables(
                            keyspace, table, Set.of(folder), true, true, check, check, true, check, copy, check, check);
            if (!failed.isEmpty()) {
                throw new IOException("the node refuses the files of " + failed + "; its log says why");
            }
        }
        return 1;
    }

    /**
     * Stream the files of a folder to the replicas of their keys; how many nodes took part. Fields: folder, then how
     * many nodes, and of each its address, its port between nodes, how many ranges, and of each start and end token.
     */
    static long stream(DataInputStream in, TableWriter table) throws Exception {
        String folder = SSTableChild.readText(in);
        Replicas replicas = new Replicas(table);
        int nodes = in.readInt();
        for (int node = 0; node < nodes; node++) {
            InetAddress address = InetAddress.getByName(SSTableChild.readText(in));
            InetAddressAndPort endpoint = InetAddressAndPort.getByAddressOverrideDefaults(address, in.readInt());
            for (int left = in.readInt(); left > 0; left--) {
                replicas.add(new Range<>(new LongToken(in.readLong()), new LongToken(in.readLong())), endpoint);
            }
        }
        // 0: no throttle. The tool's own default is 24 MiB/s.
        DatabaseDescriptor.setStreamThroughputOutboundMebibytesPerSecAsInt(0);
        DatabaseDescriptor.setEntireSSTableStreamThroughputOutboundMebibytesPerSec(0);
        DatabaseDescriptor.setInterDCStreamThroughputOutboundMebibytesPerSecAsInt(0);
        DatabaseDescriptor.setEntireSSTableInterDCStreamThroughputOutboundMebibytesPerSec(0);
        List<String> told = new ArrayList<>();
        SSTableLoader loader = new SSTableLoader(new File(folder), replicas, new Listener(told));
        loader.stream().get();
        if (!loader.getFailedHosts().isEmpty()) {
            throw new IOException("streaming to " + loader.getFailedHosts() + " failed; " + String.join("; ", told));
        }
        return nodes;
    }

    /** Who holds which keys: told by the loader, which has it from its driver, rather than asked by a second one. */
    private static final class Replicas extends SSTableLoader.Client {
        private final TableWriter table;

        Replicas(TableWriter table) {
            this.table = table;
        }

        void add(Range<Token> range, InetAddressAndPort endpoint) {
            addRangeForEndpoint(range, endpoint);
        }

        @Override
        public void init(String keyspace) {}

        @Override
        public TableMetadataRef getTableMetadata(String name) {
            return TableMetadataRef.forOfflineTools(table.metadata);
        }

        @Override
        public StreamingChannel.Factory getConnectionFactory() {
            return new Channels();
        }
    }

    /** Connects to each node at the port that was told for it: nodes of one machine differ in theirs. */
    private static final class Channels extends NettyStreamingConnectionFactory {
        @Override
        public StreamingChannel create(InetSocketAddress to, int version, StreamingChannel.Kind kind) throws IOException {
            InetAddressAndPort node = InetAddressAndPort.getByAddress(to);
            return connect(new OutboundConnectionSettings(node).withConnectTo(node), version, kind);
        }

        @Override
        public StreamingChannel create(
                InetSocketAddress to, InetSocketAddress preferred, int version, StreamingChannel.Kind kind)
                throws IOException {
            return create(to, version, kind);
        }

        @Override
        public boolean supportsPreferredIp() {
            return false;
        }
    }

    /** Keeps what the loader has to say for the case that it fails. */
    private static final class Listener implements OutputHandler {
        private final List<String> told;

        Listener(List<String> told) {
            this.told = told;
        }

        @Override
        public void output(String message) {
            told.add(message);
        }

        @Override
        public void debug(String message) {}

        @Override
        public void warn(String message) {
            told.add(message);
        }

        @Override
        public void warn(Throwable failure, String message) {
            told.add(message + ": " + failure);
        }
    }
}
