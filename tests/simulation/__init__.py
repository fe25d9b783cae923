"""The whole store on a disk that forgets at a crash what was never synced."""
