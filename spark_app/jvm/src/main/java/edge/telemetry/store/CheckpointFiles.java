package edge.telemetry.store;

import java.io.IOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.attribute.PosixFilePermissions;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.RawLocalFileSystem;
import org.apache.hadoop.fs.permission.FsPermission;

/**
 * Local files for Spark's checkpoints, as `checkpoint:/path`. Hadoop's own class starts a process
 * for each permission that it sets, several times a batch, and each takes tens of milliseconds.
 */
public final class CheckpointFiles extends RawLocalFileSystem {
    private static final URI NAME = URI.create("checkpoint:///");

    @Override
    public URI getUri() {
        return NAME;
    }

    @Override
    public String getScheme() {
        return NAME.getScheme();
    }

    @Override
    public void setPermission(Path path, FsPermission permission) throws IOException {
        String text =
                permission.getUserAction().SYMBOL
                        + permission.getGroupAction().SYMBOL
                        + permission.getOtherAction().SYMBOL;
        Files.setPosixFilePermissions(
                pathToFile(path).toPath(), PosixFilePermissions.fromString(text));
    }
}
